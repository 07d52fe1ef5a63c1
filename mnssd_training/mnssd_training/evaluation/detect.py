"""Detect objects in annotated images, and measure how long each stage of the detector takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import os
import platform
from typing import TypeVar

from mnssd_perception.detector import Detector
from mnssd_perception.ssd import Detections, Thresholds
from mnssd_training.data.sample import load_image, Sample
import numpy as np

T = TypeVar('T')

# Average precision needs the detections of low score too.
SCORING = Thresholds(score=0.01)

BATCH_SIZE = 8  # more gain nothing on a CPU, and little on a GPU beside the post-process

WARM_UP = 3  # images; the first ones also pay for memory and threads
STAGES = {
    'preprocess': 'resize', 'engine': 'infer', 'postprocess': 'postprocess', 'total': 'total'
}  # fmt: skip


@dataclass(frozen=True)
class Duration:
    """Mean, median and 95th percentile [ms]."""

    mean: float
    p50: float
    p95: float


@dataclass(frozen=True)
class Speed:
    """Duration of an image by stage, and what ran the network where."""

    engine_on: str
    machine: str
    num_images: int
    stages: dict[str, Duration]


def detect_samples(
    detector: Detector,
    samples: Sequence[Sample],
    progress: Callable[[int], object] | None = None,
    batch_size: int = BATCH_SIZE,
) -> list[Detections]:
    """
    Detect the objects in the image of each sample, ``batch_size`` images at once.

    :param progress: is called with the number of images done since the last call.
    """
    detections: list[Detections] = []
    for start in range(0, len(samples), batch_size):
        batch = samples[start : start + batch_size]
        detections += detector.detect_batch(map(load_image, batch))
        if progress:
            progress(len(batch))
    return detections


def spread(samples: Sequence[T], num: int) -> list[T]:
    """Choose at most ``num`` samples, evenly over all of them."""
    num = min(num, len(samples))
    return [samples[index * len(samples) // num] for index in range(num)]


def measure_speed(
    detector: Detector, samples: Sequence[Sample], num_images: int = 50
) -> Speed | None:
    """
    Measure how long one image at a time takes, as on the drone; None without an image.

    :param num_images: how many of the samples to measure on, evenly spread.
    """
    images = [load_image(sample) for sample in spread(samples, num_images)]
    if not images:
        return None
    for index in range(WARM_UP):
        detector.detect(images[index % len(images)])
    timings = [detector.detect_timed(image)[1] for image in images]
    stages = {}
    for stage, field in STAGES.items():
        ms = np.array([1e3 * getattr(timing, field) for timing in timings])
        values = (ms.mean(), *np.percentile(ms, (50, 95)))
        stages[stage] = Duration(*(round(float(value), 3) for value in values))
    machine = f'{platform.machine()}, {os.cpu_count()} cores'
    return Speed(str(detector.engine.info), machine, len(images), stages)
