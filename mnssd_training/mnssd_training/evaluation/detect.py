"""Detect objects in annotated images, and measure how long each stage of the detector takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import os
import platform

from mnssd_perception.detector import Detector
from mnssd_perception.ssd import Detections, Thresholds
from mnssd_training.data.sample import load_image, Sample
import numpy as np

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


def measure_speed(
    detector: Detector, samples: Sequence[Sample], num_images: int = 50
) -> Speed | None:
    """
    Measure how long an image takes, one at a time and as on the drone; None without an image.

    :param num_images: how many of the samples to measure on, evenly spread.
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
