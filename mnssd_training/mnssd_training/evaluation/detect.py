"""Detect objects in annotated images."""

from collections.abc import Callable, Sequence

from mnssd_perception.detector import Detector
from mnssd_perception.ssd import Detections, Thresholds
from mnssd_training.data.sample import load_image, Sample

# Average precision needs the detections of low score too.
SCORING = Thresholds(score=0.01)

BATCH_SIZE = 8  # more gain nothing on a CPU, and little on a GPU beside the post-process

Progress = Callable[[int], object]


def detect_samples(
    detector: Detector,
    samples: Sequence[Sample],
    progress: Progress | None = None,
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
