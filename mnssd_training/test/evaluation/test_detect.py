"""Detections in the images of samples, in batches of any size."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mnssd_perception.detector import Detector
from mnssd_training.data import load_image, Sample
from mnssd_training.errors import DatasetError
from mnssd_training.evaluation import detect_samples, SCORING
from mnssd_training.model import MobileNetSsd, TorchEngine
import numpy as np
import pytest


@pytest.fixture(scope='module')
def detector(model: MobileNetSsd) -> Detector:
    return Detector(TorchEngine(model), SCORING)


def test_no_samples(detector: Detector) -> None:
    assert detect_samples(detector, []) == []


@pytest.mark.parametrize('batch_size', [1, 3, 8])
def test_a_batch_gives_what_single_images_do(
    detector: Detector, train_samples: list[Sample], val_samples: list[Sample], batch_size: int
) -> None:
    samples = train_samples + val_samples
    done: list[int] = []
    batched = detect_samples(detector, samples, done.append, batch_size)
    assert sum(done) == len(samples) == len(batched)
    for sample, several in zip(samples, batched):
        single = detector.detect(load_image(sample))
        assert len(several) == len(single) > 0
        np.testing.assert_array_equal(several.labels, single.labels)
        np.testing.assert_allclose(several.scores, single.scores, atol=1e-5)
        np.testing.assert_allclose(several.boxes, single.boxes, atol=1e-2)


def test_an_image_that_is_missing_is_named(
    detector: Detector, make_sample: Callable[..., Sample], train_samples: list[Sample]
) -> None:
    missing = replace(train_samples[0], path=Path('gone.jpg'))
    with pytest.raises(DatasetError, match=r'gone\.jpg'):
        detect_samples(detector, [missing])
