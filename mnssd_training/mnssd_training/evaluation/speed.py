"""Measure how long each stage of a detector takes."""

from collections.abc import Sequence
from dataclasses import dataclass
import os
import platform

from mnssd_perception.detector import Detector
from mnssd_training.data.sample import load_image, Sample
import numpy as np

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


def measure_speed(
    detector: Detector, samples: Sequence[Sample], num_images: int = 50
) -> Speed | None:
    """
    Measure how long an image takes, one at a time and as on the drone.

    :param num_images: how many of the samples to measure on, evenly spread.
    :return: None without an image.
    """
    num_images = min(num_images, len(samples))
    if num_images < 1:
        return None
    images = [load_image(samples[i * len(samples) // num_images]) for i in range(num_images)]
    for index in range(WARM_UP):
        detector.detect(images[index % num_images])
    timings = [detector.detect_timed(image)[1] for image in images]
    stages = {
        stage: _summarise([getattr(timing, field) for timing in timings])
        for stage, field in STAGES.items()
    }
    machine = f'{platform.machine()}, {os.cpu_count()} cores'
    return Speed(str(detector.engine.info), machine, num_images, stages)


def _summarise(seconds: list[float]) -> Duration:
    milliseconds = 1e3 * np.array(seconds)
    values = (milliseconds.mean(), *np.percentile(milliseconds, (50, 95)))
    return Duration(*(round(float(value), 3) for value in values))
