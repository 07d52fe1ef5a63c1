"""
Match the detections of one image to its ground truth.

Average precision, the confusion matrix, the failures of a report, the self-test of an engine and
the accuracy gate of the export all pair boxes here. What differs between them is the rule by which
pairs are chosen, see :data:`Rule`; the pairing itself is greedy and one to one.
"""

from dataclasses import dataclass
from typing import Literal

from mnssd_perception.ssd import boxes as box_ops
from mnssd_perception.ssd import Detections
import numpy as np
from numpy.typing import NDArray

ANY_CLASS = -1  # label of an ignore region that hides all classes

# 'voc': a detection can only match the object of its class with the highest IoU; detections
# choose in the order of their scores (Everingham et al., IJCV 2010, section 4.2).
# 'same_class': pairs of one class, highest IoU first.
# 'any_class': the same, and then pairs of different classes, as a confusion matrix needs them.
Rule = Literal['voc', 'same_class', 'any_class']


@dataclass(frozen=True)
class MatchResult:
    """
    Which detections of one image match which objects. All arrays are int64 and ascending.

    :ivar true_positives: ``(K, 2)`` object and detection of one class.
    :ivar misclassified: ``(L, 2)`` object and detection of different classes; empty unless the
        rule is ``any_class``.
    :ivar false_positives: ``(F,)`` detections without an object.
    :ivar false_negatives: ``(M,)`` objects without a detection.
    :ivar ignored: ``(I,)`` detections without an object that an ignore region hides.
    """

    true_positives: NDArray[np.int64]
    misclassified: NDArray[np.int64]
    false_positives: NDArray[np.int64]
    false_negatives: NDArray[np.int64]
    ignored: NDArray[np.int64]

    @property
    def num_errors(self) -> int:
        """Count what is neither a true positive nor ignored."""
        return len(self.misclassified) + len(self.false_positives) + len(self.false_negatives)


def match_detections(
    detections: Detections,
    boxes: NDArray[np.floating],
    labels: NDArray[np.integer],
    ignore: NDArray[np.floating] | None = None,
    ignore_labels: NDArray[np.integer] | None = None,
    *,
    rule: Rule = 'same_class',
    iou_threshold: float = 0.5,
    score_threshold: float = 0.0,
    allowed: NDArray[np.bool_] | None = None,
) -> MatchResult:
    """
    Match detections to objects, one to one.

    A detection without an object is ignored if ``iou_threshold`` of its area lies in an ignore
    region of its class or of any class. By the VOC rule, a second detection of an object is a
    false positive even there.

    :param boxes: ``(N, 4)`` xyxy of the objects, in the unit of the detections.
    :param labels: ``(N,)`` of the objects.
    :param ignore: ``(M, 4)`` xyxy ignore regions.
    :param ignore_labels: ``(M,)`` class that a region hides, or :data:`ANY_CLASS`.
    :param iou_threshold: smallest IoU of a pair.
    :param score_threshold: detections below it appear nowhere in the result.
    :param allowed: ``(N, D)`` pairs of an object and a detection that may match; None for all.
    """
    kept = np.flatnonzero(detections.scores >= score_threshold)
    kept_boxes, kept_labels = detections.boxes[kept].astype(np.float64), detections.labels[kept]
    # In float64, as COCO's evaluation: an IoU just at the threshold gets the same verdict.
    ious = box_ops.box_iou(boxes.astype(np.float64), kept_boxes)
    is_same_class = labels[:, None] == kept_labels
    is_candidate = ious >= iou_threshold
    if allowed is not None:
        is_candidate &= allowed[:, kept]
    if rule == 'voc' and len(boxes):
        nearest = np.where(is_same_class, ious, -1.0).argmax(axis=0)
        is_candidate &= is_same_class & (np.arange(len(boxes))[:, None] == nearest)
    elif rule != 'any_class':
        is_candidate &= is_same_class

    rows, columns = np.nonzero(is_candidate)
    if rule == 'voc':
        order = np.argsort(columns, kind='stable')
    else:
        order = np.lexsort((-ious[rows, columns], ~is_same_class[rows, columns]))
    pairs: dict[int, int] = {}
    matched: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist()):
        if row not in pairs and column not in matched:
            pairs[row] = column
            matched.add(column)

    is_unmatched = np.ones(len(kept), np.bool_)
    is_unmatched[list(matched)] = False
    is_hidden = np.zeros(len(kept), np.bool_)
    if ignore is not None and ignore_labels is not None:
        shares = box_ops.box_ioa(kept_boxes, ignore.astype(np.float64))  # (D, M)
        hides = (ignore_labels == kept_labels[:, None]) | (ignore_labels == ANY_CLASS)
        is_hidden = (hides & (shares >= iou_threshold)).any(axis=1)
    if rule == 'voc':
        is_hidden &= ~is_candidate.any(axis=0)

    matches = np.array(sorted(pairs.items()), np.int64).reshape(-1, 2)
    is_right = is_same_class[matches[:, 0], matches[:, 1]]
    matches[:, 1] = kept[matches[:, 1]]
    return MatchResult(
        true_positives=matches[is_right],
        misclassified=matches[~is_right],
        false_positives=kept[is_unmatched & ~is_hidden],
        false_negatives=np.setdiff1d(np.arange(len(boxes)), matches[:, 0]),
        ignored=kept[is_unmatched & is_hidden],
    )
