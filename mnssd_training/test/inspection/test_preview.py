"""Drawn samples: the chosen ones, with boxes in place, as the training set makes them."""

from collections.abc import Callable
from pathlib import Path

import cv2
from mnssd_perception.overlay import class_colour
from mnssd_perception.ssd import ModelSpec
from mnssd_training.config import Experiment
from mnssd_training.data import Sample
from mnssd_training.data.dataset import TrainingSet
from mnssd_training.data.transforms import NetworkSample
from mnssd_training.errors import ConfigError
from mnssd_training.inspection.preview import (
    choose_indices,
    draw_network_sample,
    draw_sample,
    make_network_sample,
)
from mnssd_training.priors import make_spec
from mnssd_training.reporting import drawing
import numpy as np
import pytest

GENERATOR = np.random.default_rng
AUGMENTED = {'augmentation.mosaic': 0.5, 'augmentation.mixup': 0.5, 'augmentation.invert': 0.5}


def test_no_samples() -> None:
    assert choose_indices([], 5, (), GENERATOR(0)) == []
    assert drawing.contact_sheet((), 3, [('Person', (255, 0, 0))]).dtype == np.uint8


def test_samples_are_chosen_by_class_and_seed(train_samples: list[Sample]) -> None:
    everything = choose_indices(train_samples, 99, (), GENERATOR(0))
    assert everything == list(range(len(train_samples)))
    for label in range(4):
        chosen = choose_indices(train_samples, 99, [label], GENERATOR(0))
        shown = [index for index in everything if label in train_samples[index].labels]
        assert chosen == shown
    assert choose_indices(train_samples, 2, (), GENERATOR(5)) == choose_indices(
        train_samples, 2, (), GENERATOR(5)
    )


def test_boxes_are_drawn_around_objects(
    make_sample: Callable[..., Sample], tmp_path: Path
) -> None:
    path = tmp_path / 'grey.png'
    cv2.imwrite(str(path), np.full((100, 200, 3), 90, np.uint8))
    sample = make_sample(
        [(20, 20, 60, 60)], [1], ignore=[(100, 50, 150, 90)], size=(100, 200), path=path
    )
    image = draw_sample(sample, 400).image
    assert image.shape == (200, 400, 3)
    changed = (image != 90).any(axis=2)
    assert tuple(image[60, 39]) == class_colour(1)
    assert not changed[41:119, 41:119].any()  # nothing lies on the object
    assert changed[100:180, 200:300].any()
    rest = changed.copy()
    rest[36:124, 36:124] = rest[100:180, 200:300] = False
    assert not rest.any()


@pytest.mark.parametrize('augmented', [False, True])
def test_network_samples_equal_those_of_the_training_set(
    experiment: Callable[..., Experiment], train_samples: list[Sample], augmented: bool
) -> None:
    settings = experiment(**AUGMENTED)
    spec = make_spec(settings, train_samples, ('Person', 'Car', 'Bicycle', 'OtherVehicle'))
    training = TrainingSet(
        train_samples,
        spec,
        settings.augmentation if augmented else None,
        settings.matching,
        settings.training.seed,
    )
    for index in range(len(train_samples)):
        sample = make_network_sample(train_samples, index, spec, settings, 3, augmented)
        name, image, classes, _ = training[3, index, settings.input.size]
        assert np.array_equal(sample.image, image)
        assert name == train_samples[index].name
        caption = draw_network_sample(name, sample, spec, settings, True, 300).caption
        assert f' {(classes > 0).sum()} positive priors, {(classes < 0).sum()} ignored' in caption


@pytest.fixture
def empty_sample() -> NetworkSample:
    """A network input without objects."""
    nothing = np.zeros((0, 4), np.float32)
    image = np.full((96, 120, 3), 50, np.uint8)
    return NetworkSample(image, nothing, np.zeros(0, np.int64), nothing)


def test_a_network_sample_without_objects(
    spec: ModelSpec, experiment: Callable[..., Experiment], empty_sample: NetworkSample
) -> None:
    for matched in (False, True):
        tile = draw_network_sample('empty', empty_sample, spec, experiment(), matched, 120)
        assert np.array_equal(tile.image, empty_sample.image)


def test_priors_that_a_network_must_match_are_not_drawn(
    spec: ModelSpec, experiment: Callable[..., Experiment], empty_sample: NetworkSample
) -> None:
    settings = experiment(matching__method='tal', loss__classification='varifocal')
    assert draw_network_sample('empty', empty_sample, spec, settings, False, 120).image.any()
    with pytest.raises(ConfigError, match=r'matching\.method: expected iou or atss'):
        draw_network_sample('empty', empty_sample, spec, settings, True, 120)


def test_a_contact_sheet_holds_all_tiles() -> None:
    tiles = [drawing.Tile(np.full((20, 30, 3), 100 + value, np.uint8), 'x') for value in range(5)]
    whole = drawing.contact_sheet(tiles, 2, [('a', (1, 2, 3))])
    for value in range(5):
        assert (whole == 100 + value).all(axis=2).sum() >= 20 * 30
