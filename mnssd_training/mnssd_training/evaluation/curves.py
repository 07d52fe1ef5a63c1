"""Ranked detections to precision-recall curves, to scores over the confidence, and to the best."""

from collections.abc import Sequence
from typing import Any

from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import Sample
from mnssd_training.evaluation.voc_ap import ClassResult, voc_ap
import numpy as np
from numpy.typing import NDArray

RESOLUTION = 1000  # steps of recall that a plot can show
CONFIDENCES = np.arange(1, 101) / 100


def curves(
    samples: Sequence[Sample],
    found: Sequence[Detections],
    class_names: Sequence[str],
    iou_threshold: float = 0.5,
) -> dict[str, Any]:
    """
    Compute the curves of each class that has objects, by VOC's rule.

    :param samples: the annotations.
    :param found: the detections of each sample.
    :param class_names: in the order of the labels.
    :param iou_threshold: from which a detection is a true positive.
    :return: ``confidence``, the score thresholds ``(100,)`` of all curves over it; ``classes``:
        name to ``recall`` and ``precision`` of the envelope, to ``by_confidence`` (``precision``,
        None where nothing scores enough, ``recall`` and ``f1``) and to ``best``: ``f1`` with its
        ``score``, ``precision`` and ``recall``, or None where nothing is a true positive; and
        ``mean``: the mean ``f1`` over the classes by confidence, and the ``best`` of it.
    """
    results = voc_ap(samples, found, len(class_names), iou_threshold)
    classes = {
        name: _curve(result) for name, result in zip(class_names, results) if result.num_objects
    }
    every = [curve['by_confidence']['f1'] for curve in classes.values()]
    mean = np.mean(every, axis=0) if every else np.zeros(len(CONFIDENCES))
    top = int(mean.argmax())
    best = {'f1': float(mean[top]), 'score': float(CONFIDENCES[top])} if mean.any() else None
    return {
        'confidence': CONFIDENCES.tolist(),
        'classes': classes,
        'mean': {'f1': mean.round(5).tolist(), 'best': best},
    }


def precision_recall_envelope(
    recall: NDArray[np.float64], precision: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """
    Reduce a precision-recall curve to the corners of its envelope.

    The envelope is the best precision at this recall or a higher one, whose area is the average
    precision: like that, it ranks detections of equal scores one after the other. It is a
    staircase, so its corners say all of it; of more corners than a plot can show, the last in
    each thousandth of recall is kept.

    :param recall: ``(D,)`` rising, after each detection.
    :param precision: ``(D,)``.
    :return: recall ``(K,)``, strictly rising, and the precision ``(K,)`` up to each.
    """
    is_hit = np.diff(recall, prepend=0.0) > 0
    recall, envelope = recall[is_hit], np.maximum.accumulate(precision[::-1])[::-1][is_hit]
    is_corner = np.append(envelope[1:] < envelope[:-1], True)[: len(envelope)]
    recall, envelope = recall[is_corner], envelope[is_corner]
    cell = np.ceil(recall * RESOLUTION).astype(np.int64)
    is_last = np.append(cell[1:] != cell[:-1], True)[: len(cell)]
    return recall[is_last], envelope[is_last]


def _curve(result: ClassResult) -> dict[str, Any]:
    """Compute the curves of one class and the best point."""
    recall, precision = precision_recall_envelope(result.recall, result.precision)
    # A threshold takes all detections of a score or none of them.
    is_last = np.append(np.diff(result.scores) != 0, True)[: len(result.scores)]
    f1 = np.where(is_last, _f1(result.precision, result.recall), 0.0)
    best = None
    if f1.any():
        top = int(f1.argmax())
        best = {
            'f1': float(f1[top]),
            'score': float(result.scores[top]),
            'precision': float(result.precision[top]),
            'recall': float(result.recall[top]),
        }
    return {
        'recall': recall.round(5).tolist(),
        'precision': precision.round(5).tolist(),
        'by_confidence': _by_confidence(result),
        'best': best,
    }


def _by_confidence(result: ClassResult) -> dict[str, Any]:
    """Read precision, recall and F1 off at each score threshold."""
    num = np.searchsorted(-result.scores.astype(np.float64), -CONFIDENCES, side='right')
    precision = np.append(0.0, result.precision)[num]
    recall = np.append(0.0, result.recall)[num]
    return {
        'precision': [
            round(float(value), 5) if counted else None for value, counted in zip(precision, num)
        ],
        'recall': recall.round(5).tolist(),
        'f1': _f1(precision, recall).round(5).tolist(),
    }


def _f1(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the harmonic mean, 0 where both are 0."""
    both = precision + recall
    return 2 * precision * recall / np.where(both > 0, both, 1)
