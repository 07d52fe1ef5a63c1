"""Ranked detections to precision-recall curves and to the score threshold that suits best."""

from collections.abc import Sequence
from typing import Any

from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import Sample
from mnssd_training.evaluation.voc_ap import ClassResult, voc_ap
import numpy as np

__all__ = ['curves']

MOST_POINTS = 200  # of a curve; more do not show


def curves(
    samples: Sequence[Sample],
    found: Sequence[Detections],
    class_names: Sequence[str],
    iou_threshold: float = 0.5,
) -> dict[str, dict[str, Any]]:
    """
    Draw precision over recall, by VOC's rule, for each class that has objects.

    :param samples: the annotations.
    :param found: the detections of each sample.
    :param class_names: in the order of the labels.
    :param iou_threshold: from which a detection is right.
    :return: class to ``recall``, ``precision`` and ``score`` (lists, best score first) and
        ``best``: ``f1`` with its ``score``, ``precision`` and ``recall``, or None where nothing
        was found rightly.
    """
    results = voc_ap(samples, found, len(class_names), iou_threshold)
    return {
        name: _curve(result) for name, result in zip(class_names, results) if result.num_objects
    }


def _curve(result: ClassResult) -> dict[str, Any]:
    """Thin out the curve of one class and find its best point."""
    num = len(result.recall)
    kept = np.unique(np.linspace(0, max(num - 1, 0), min(num, MOST_POINTS)).round().astype(int))
    both = result.precision + result.recall
    f1 = 2 * result.precision * result.recall / np.where(both > 0, both, 1)
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
        'recall': result.recall[kept].round(5).tolist(),
        'precision': result.precision[kept].round(5).tolist(),
        'score': result.scores[kept].astype(np.float64).round(5).tolist(),
        'best': best,
    }
