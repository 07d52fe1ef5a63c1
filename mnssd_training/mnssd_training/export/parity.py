"""Compare an exported network with the trained one on real images."""

from collections.abc import Sequence
from dataclasses import dataclass

from mnssd_perception.detector import Detector
from mnssd_perception.engines import Engine
from mnssd_perception.matching import match_detections
from mnssd_perception.ssd import Detections, Thresholds
from mnssd_training.data.sample import load_image, Sample
from mnssd_training.errors import ExportError
from mnssd_training.model import MobileNetSsd, TorchEngine
import numpy as np


@dataclass(frozen=True)
class Parity:
    """
    The largest differences between an engine and PyTorch.

    :ivar logits: of the raw class scores.
    :ivar offsets: of the raw box offsets.
    :ivar boxes: of the edges of the detections, pixels of the image.
    :ivar scores: of the scores of the detections.
    :ivar unmatched: number of detections that only one of the two has.
    """

    num_images: int
    logits: float
    offsets: float
    boxes: float
    scores: float
    unmatched: int


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
    :param thresholds: which detections are compared.
    :param tolerance: largest difference of raw heads.
    :raises ExportError: if the raw heads differ by more.
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
        in_boxes, in_scores, in_number = _compare(expected, detections)
        boxes, scores = max(boxes, in_boxes), max(scores, in_scores)
        unmatched += in_number
    return Parity(len(samples), logits, offsets, boxes, scores, unmatched)


def _compare(expected: Detections, detections: Detections) -> tuple[float, float, int]:
    """Measure the largest box and score difference, and count detections without a match."""
    matches = match_detections(
        detections, expected.boxes, expected.labels, iou_threshold=0.9
    ).true_positives
    unmatched = len(expected) + len(detections) - 2 * len(matches)
    if not len(matches):
        return 0.0, 0.0, unmatched
    first, second = matches.T
    boxes = np.abs(expected.boxes[first] - detections.boxes[second]).max()
    scores = np.abs(expected.scores[first] - detections.scores[second]).max()
    return float(boxes), float(scores), unmatched
