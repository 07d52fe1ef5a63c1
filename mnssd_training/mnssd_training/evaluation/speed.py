"""A detector to how long it takes for an image, stage by stage."""

from collections.abc import Callable, Sequence
import os
import platform
from typing import Any

from mnssd_perception.detector import StageTimings
from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import load_image, Sample
import numpy as np
from numpy.typing import NDArray

TimedDetect = Callable[[NDArray[np.uint8]], tuple[Detections, StageTimings]]

WARM_UP = 3  # images; the first ones also pay for memory and threads
STAGES = {'preprocess': 'resize', 'engine': 'infer', 'postprocess': 'postprocess'}


def measure_speed(
    detect: TimedDetect, samples: Sequence[Sample], ran_on: str, num: int = 50
) -> dict[str, Any] | None:
    """
    Measure how long an image takes, one at a time and as on the drone.

    :param detect: finds the objects and tells how long each stage took.
    :param samples: the images, of which some are taken, evenly.
    :param ran_on: what ran the network, for the record.
    :param num: images to measure on.
    :return: ``engine_on``, ``machine``, ``num_images``, and ``stages``: name to ``mean``, ``p50``
        and ``p95`` [ms]; None without an image.
    """
    num = min(num, len(samples))
    if num < 1:
        return None
    images = [load_image(samples[index * len(samples) // num]) for index in range(num)]
    for index in range(WARM_UP):
        detect(images[index % num])
    timings = [detect(image)[1] for image in images]
    stages = {name: [getattr(one, field) for one in timings] for name, field in STAGES.items()}
    stages['total'] = [one.total for one in timings]
    return {
        'engine_on': ran_on,
        'machine': f'{platform.machine()}, {os.cpu_count()} cores',
        'num_images': num,
        'stages': {name: _summary(seconds) for name, seconds in stages.items()},
    }


def _summary(seconds: list[float]) -> dict[str, float]:
    """Summarise durations, in milliseconds."""
    values = 1e3 * np.array(seconds)
    p50, p95 = np.percentile(values, (50, 95))
    return {
        'mean': round(float(values.mean()), 3),
        'p50': round(float(p50), 3),
        'p95': round(float(p95), 3),
    }
