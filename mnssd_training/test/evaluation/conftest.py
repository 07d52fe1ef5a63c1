"""Detections to score: random ones in a crowd, and those of the shipped model."""

from collections.abc import Callable, Sequence
from typing import Any

from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.detector import Detector
from mnssd_perception.engines import open_engine
from mnssd_perception.ssd import Detections
from mnssd_training.data import Sample
from mnssd_training.evaluation import detect_samples, SCORING
import numpy as np
import pytest

Scored = tuple[list[Sample], list[Detections]]


@pytest.fixture(scope='session')
def shipped_detector() -> Detector:
    """The shipped model, with a low score threshold."""
    bundle = open_bundle(shipped_bundle_path())
    return Detector(open_engine(bundle, 'onnxruntime', precision='fp32'), SCORING)


@pytest.fixture(scope='session')
def real(
    shipped_detector: Detector, train_samples: list[Sample], val_samples: list[Sample]
) -> Scored:
    """Real detections in real images."""
    samples = train_samples + val_samples
    return samples, detect_samples(shipped_detector, samples)


@pytest.fixture
def crowded(make_sample: Callable[..., Sample]) -> Callable[..., Scored]:
    """Make images of overlapping objects of all sizes, with true and false positives."""

    def make(seed: int, num: int = 12, num_classes: int = 3, regions: bool = True) -> Scored:
        generator = np.random.default_rng(seed)
        samples, found = [], []
        for _ in range(num):
            boxes = _boxes(generator, int(generator.integers(0, 25)))
            labels = generator.integers(0, num_classes, len(boxes))
            hidden = _boxes(generator, int(generator.integers(0, 4)) if regions else 0)
            again = np.repeat(boxes, generator.integers(0, 4, len(boxes)), axis=0)
            again = again + generator.normal(0, 5, again.shape)
            every = np.concatenate((again, _boxes(generator, 12), hidden + 1))
            every = every[(every[:, 2:] > every[:, :2] + 1).all(axis=1)]
            every = generator.permutation(every).astype(np.float32)
            scores = generator.random(len(every)).astype(np.float32)
            samples.append(
                make_sample(
                    boxes, labels, hidden, generator.integers(-1, num_classes, len(hidden))
                )
            )
            found.append(
                Detections(
                    every,
                    np.sort(scores)[::-1],
                    generator.integers(0, num_classes, len(every)),
                )
            )
        return samples, found

    return make


@pytest.fixture
def found() -> Callable[..., Detections]:
    """Make detections from lists."""

    def make(boxes: Any = (), scores: Sequence[float] = (), labels: Any = None) -> Detections:
        labels = [0] * len(scores) if labels is None else labels
        return Detections(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(scores, np.float32),
            np.array(labels, np.int64),
        )

    return make


def _boxes(generator: np.random.Generator, num: int) -> np.ndarray:
    corner = generator.uniform(0, 400, (num, 2))
    sides = np.exp(generator.uniform(np.log(8), np.log(200), (num, 2)))
    return np.concatenate((corner, corner + sides), axis=1).astype(np.float32)
