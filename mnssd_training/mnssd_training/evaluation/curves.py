"""Precision-recall curves, and precision, recall and F1 over the score threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import Sample
from mnssd_training.evaluation.voc_ap import ClassResult, voc_ap
import numpy as np
from numpy.typing import NDArray

RECALL_STEPS = 1000  # that a plot can show
CONFIDENCES = np.arange(1, 101) / 100


@dataclass(frozen=True)
class BestF1:
    """The best F1 and its score threshold."""

    f1: float
    score: float


@dataclass(frozen=True)
class ClassBestF1(BestF1):
    """The best F1 of a class, with precision and recall there."""

    precision: float
    recall: float


@dataclass(frozen=True)
class ConfidenceCurves:
    """By score threshold; precision is None where no detection reaches it."""

    precision: list[float | None]
    recall: list[float]
    f1: list[float]


@dataclass(frozen=True)
class ClassCurves:
    """The curves of one class."""

    recall: list[float]  # of the corners of the precision-recall envelope, rising
    precision: list[float]  # up to each of them
    by_confidence: ConfidenceCurves
    best: ClassBestF1 | None  # None without a true positive


@dataclass(frozen=True)
class MeanF1:
    """F1 averaged over the classes, by score threshold."""

    f1: list[float]
    best: BestF1 | None


@dataclass(frozen=True)
class Curves:
    """The curves of all classes that have objects; ``confidence`` holds the score thresholds."""

    confidence: list[float]
    classes: dict[str, ClassCurves]
    mean: MeanF1


def compute_curves(
    samples: Sequence[Sample],
    detections: Sequence[Detections],
    class_names: Sequence[str],
    iou_threshold: float = 0.5,
) -> Curves:
    """Compute the curves of each class that has objects, by VOC's matching."""
    results = voc_ap(samples, detections, len(class_names), iou_threshold)
    classes = {
        name: _class_curves(result)
        for name, result in zip(class_names, results)
        if result.num_objects
    }
    f1 = [curves.by_confidence.f1 for curves in classes.values()]
    mean = np.mean(f1, axis=0) if f1 else np.zeros(len(CONFIDENCES))
    top = int(mean.argmax())
    best = BestF1(float(mean[top]), float(CONFIDENCES[top])) if mean.any() else None
    return Curves(CONFIDENCES.tolist(), classes, MeanF1(mean.round(5).tolist(), best))


def precision_recall_envelope(
    recall: NDArray[np.float64], precision: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """
    Reduce a precision-recall curve to the corners of its envelope.

    The envelope is the best precision at this recall or a higher one; the area below it is the
    average precision. It is a staircase, so its corners describe it fully; of more corners than a
    plot can show, the last in each thousandth of recall is kept.

    :param recall: ``(D,)`` rising, after each detection; precision likewise.
    :return: recall ``(K,)``, strictly rising, and the precision ``(K,)`` up to each.
    """
    is_hit = np.diff(recall, prepend=0.0) > 0
    recall, envelope = recall[is_hit], np.maximum.accumulate(precision[::-1])[::-1][is_hit]
    is_corner = np.append(envelope[1:] < envelope[:-1], True)[: len(envelope)]
    recall, envelope = recall[is_corner], envelope[is_corner]
    cell = np.ceil(recall * RECALL_STEPS).astype(np.int64)
    is_last = np.append(cell[1:] != cell[:-1], True)[: len(cell)]
    return recall[is_last], envelope[is_last]


def _class_curves(result: ClassResult) -> ClassCurves:
    recall, precision = precision_recall_envelope(result.recall, result.precision)
    # A threshold keeps all detections of a score or none of them.
    is_last = np.append(np.diff(result.scores) != 0, True)[: len(result.scores)]
    f1 = np.where(is_last, _f1(result.precision, result.recall), 0.0)
    best = None
    if f1.any():
        top = int(f1.argmax())
        values = (f1[top], result.scores[top], result.precision[top], result.recall[top])
        best = ClassBestF1(*map(float, values))
    num_kept = np.searchsorted(-result.scores.astype(np.float64), -CONFIDENCES, side='right')
    kept_precision = np.append(0.0, result.precision)[num_kept]
    kept_recall = np.append(0.0, result.recall)[num_kept]
    by_confidence = ConfidenceCurves(
        [round(float(value), 5) if num else None for value, num in zip(kept_precision, num_kept)],
        kept_recall.round(5).tolist(),
        _f1(kept_precision, kept_recall).round(5).tolist(),
    )
    return ClassCurves(recall.round(5).tolist(), precision.round(5).tolist(), by_confidence, best)


def _f1(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the harmonic mean, 0 where both are 0."""
    total = precision + recall
    return 2 * precision * recall / np.where(total > 0, total, 1)
