"""Decoded images that stay in memory."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
from mnssd_perception.ssd import ModelSpec
from mnssd_training.config import AssignmentConfig, AugmentationConfig, Experiment, fingerprint
from mnssd_training.data import Sample
from mnssd_training.data.dataset import TrainingSet
from mnssd_training.data.image_cache import cache_images, GIBI
from mnssd_training.data.sample import load_image
from mnssd_training.errors import DatasetError
import numpy as np
import pytest

BYTES = 512 * 640  # of a grey image


def test_nothing_is_cached_from_nothing() -> None:
    assert cache_images([], 1.0) == ([], '0.00 GiB of decoded images in memory: all 0')


def test_cached_images_equal_those_of_the_files(train_samples: list[Sample]) -> None:
    cached, note = cache_images(train_samples, 1.0)
    assert f'all {len(train_samples)}' in note
    for before, after in zip(train_samples, cached):
        assert after.pixels is not None
        assert after.pixels.shape == (512, 640)
        np.testing.assert_array_equal(load_image(after), load_image(before))
        assert after.name == before.name


def test_cached_images_need_no_file(train_samples: list[Sample]) -> None:
    cached = cache_images(train_samples[:1], 1.0)[0][0]
    assert load_image(replace(cached, path=Path('gone.jpg'))).shape == (512, 640, 3)


def test_images_beyond_the_limit_stay_on_disk(train_samples: list[Sample]) -> None:
    cached, note = cache_images(train_samples, 2.5 * BYTES / GIBI)
    assert [sample.pixels is not None for sample in cached] == [True, True, False, False]
    assert [sample.name for sample in cached] == [sample.name for sample in train_samples]
    assert '2 of 4 images' in note


def test_colour_images_keep_their_channels_and_are_read_only(
    tmp_path: Path, make_sample: Callable[..., Sample]
) -> None:
    path = tmp_path / 'colour.png'
    pixels = np.zeros((8, 9, 3), np.uint8)
    pixels[2, 3] = 255, 0, 0  # BGR
    cv2.imwrite(str(path), pixels)
    image = load_image(cache_images([make_sample(size=(8, 9), path=path)], 1.0)[0][0])
    assert image[2, 3].tolist() == [0, 0, 255]
    with pytest.raises(ValueError, match='read-only'):
        image[0] = 0


def test_missing_image_is_named(make_sample: Callable[..., Sample]) -> None:
    with pytest.raises(DatasetError, match=r'made_up\.png'):
        cache_images([make_sample()], 1.0)


def test_cache_does_not_change_the_fingerprint(experiment: Callable[..., Experiment]) -> None:
    assert fingerprint(experiment()) == fingerprint(experiment(training__image_cache_gib=2))


def test_network_inputs_are_the_same_with_and_without(
    train_samples: list[Sample], spec: ModelSpec
) -> None:
    config = AugmentationConfig(large_scale_jitter=1, mosaic=0.5, mixup=0.5, equalize=0.5)
    plain, cached = (
        TrainingSet(samples, spec, config, AssignmentConfig(), 1)
        for samples in (train_samples, cache_images(train_samples, 1.0)[0])
    )
    for epoch in range(4):
        for index in range(len(train_samples)):
            key = (epoch, index, spec.input_size)
            for one, other in zip(plain[key], cached[key]):
                np.testing.assert_array_equal(one, other)
