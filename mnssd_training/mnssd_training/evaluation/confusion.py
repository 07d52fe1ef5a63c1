"""Match the detections of samples, and count them in a confusion matrix."""

from collections.abc import Sequence
from functools import partial

from mnssd_perception.matching import match_detections, MatchResult, Rule
from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import Sample
import numpy as np
from numpy.typing import NDArray


def match_samples(
    samples: Sequence[Sample],
    detections: Sequence[Detections],
    score_threshold: float = 0.0,
    iou_threshold: float = 0.5,
    rule: Rule = 'any_class',
) -> list[MatchResult]:
    """Match the detections of each sample to its objects, see :func:`match_detections`."""
    match = partial(
        match_detections, rule=rule, iou_threshold=iou_threshold, score_threshold=score_threshold
    )
    return [
        match(image_detections, s.boxes, s.labels, s.ignore, s.ignore_labels)
        for s, image_detections in zip(samples, detections)
    ]


def confusion_matrix(
    samples: Sequence[Sample],
    detections: Sequence[Detections],
    matches: Sequence[MatchResult],
    num_classes: int,
) -> NDArray[np.int64]:
    """
    Count detections by the class of their object, in rows, and their predicted class, in columns.

    The last row and column of ``(C + 1, C + 1)`` are the background: false negatives in the last
    column, false positives in the last row.
    """
    side = num_classes + 1
    cells = [np.zeros(0, np.int64)]
    for sample, image_detections, match in zip(samples, detections, matches):
        for objects, columns in (match.true_positives.T, match.misclassified.T):
            cells.append(sample.labels[objects] * side + image_detections.labels[columns])
        cells.append(sample.labels[match.false_negatives] * side + num_classes)
        cells.append(num_classes * side + image_detections.labels[match.false_positives])
    return np.bincount(np.concatenate(cells), minlength=side * side).reshape(side, side)
