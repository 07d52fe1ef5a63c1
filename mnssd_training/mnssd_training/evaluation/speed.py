"""Measure how long each stage of a detector takes."""

from collections.abc import Sequence
import os
import platform
from typing import Any

from mnssd_perception.detector import Detector
from mnssd_training.data.sample import load_image, Sample
import numpy as np

WARM_UP = 3  # images; the first ones also pay for memory and threads
STAGES = {
    'preprocess': 'resize', 'engine': 'infer', 'postprocess': 'postprocess', 'total': 'total'
}  # fmt: skip


def measure_speed(
    detector: Detector, samples: Sequence[Sample], num_images: int = 50
) -> dict[str, Any] | None:
    """
    Measure how long an image takes, one at a time and as on the drone.

    :param num_images: how many of the samples to measure on, evenly spread.
    :return: ``engine_on``, ``machine``, ``num_images``, and ``stages``: name to ``mean``, ``p50``
        and ``p95`` [ms]; None without an image.
    """
    num_images = min(num_images, len(samples))
    if num_images < 1:
        return None
    images = [load_image(samples[i * len(samples) // num_images]) for i in range(num_images)]
    for index in range(WARM_UP):
        detector.detect(images[index % num_images])
    timings = [detector.detect_timed(image)[1] for image in images]
    return {
        'engine_on': str(detector.engine.info),
        'machine': f'{platform.machine()}, {os.cpu_count()} cores',
        'num_images': num_images,
        'stages': {
            stage: _summarise([getattr(timing, field) for timing in timings])
            for stage, field in STAGES.items()
        },
    }


def _summarise(seconds: list[float]) -> dict[str, float]:
    milliseconds = 1e3 * np.array(seconds)
    p50, p95 = np.percentile(milliseconds, (50, 95))
    summary = {'mean': milliseconds.mean(), 'p50': p50, 'p95': p95}
    return {name: round(float(value), 3) for name, value in summary.items()}
