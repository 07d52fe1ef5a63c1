"""Compare an exported network with the trained one on real images."""

from collections.abc import Sequence
from dataclasses import dataclass

from mnssd_perception.detector import Detector
from mnssd_perception.engines import Engine
from mnssd_perception.matching import match_detections
from mnssd_perception.ssd import Thresholds
from mnssd_training.data.sample import load_image, Sample
from mnssd_training.errors import ExportError
from mnssd_training.model import MobileNetSsd, TorchEngine
import numpy as np


@dataclass(frozen=True)
class Parity:
    """The largest differences between an engine and PyTorch, in raw heads and in detections."""

    num_images: int
    logits: float
    offsets: float
    boxes: float  # edges, pixels of the image
    scores: float
    unmatched: int  # number of detections that only one of the two has


def check_parity(
    model: MobileNetSsd,
    engine: Engine,
    samples: Sequence[Sample],
    thresholds: Thresholds,
    tolerance: float = 1e-2,
) -> Parity:
    """
    Compare an engine with the network it was exported from.

    :param model: in evaluation mode, on the CPU.
    :raises ExportError: if the raw heads differ by more than ``tolerance``.
    """
    reference, exported = Detector(TorchEngine(model), thresholds), Detector(engine, thresholds)
    logits = offsets = boxes = scores = 0.0
    unmatched = 0
    for sample in samples:
        image = load_image(sample)
        expected, expected_heads = reference.detect_with_heads(image)
        detections, heads = exported.detect_with_heads(image)
        in_logits = float(np.abs(expected_heads.logits - heads.logits).max())
        in_offsets = float(np.abs(expected_heads.offsets - heads.offsets).max())
        if not (in_logits <= tolerance and in_offsets <= tolerance):
            raise ExportError(
                f'{sample.name}: expected raw heads within {tolerance} of PyTorch, '
                f'got {in_logits:.3g} (logits) and {in_offsets:.3g} (offsets)'
            )
        logits, offsets = max(logits, in_logits), max(offsets, in_offsets)
        match = match_detections(detections, expected.boxes, expected.labels, iou_threshold=0.9)
        first, second = match.true_positives.T
        in_boxes = np.abs(expected.boxes[first] - detections.boxes[second])
        in_scores = np.abs(expected.scores[first] - detections.scores[second])
        boxes = max(boxes, float(in_boxes.max(initial=0)))
        scores = max(scores, float(in_scores.max(initial=0)))
        unmatched += len(expected) + len(detections) - 2 * len(first)
    return Parity(len(samples), logits, offsets, boxes, scores, unmatched)
