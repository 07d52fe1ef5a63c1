"""Objects and detections of an image to what became of each at a score threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import ANY_CLASS, Sample
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MatchResult:
    """
    What became of the objects and the detections of one image.

    :ivar pairs: ``(K, 2)`` int64, an object and the detection that answers for it, whatever the
        class.
    :ivar missed: ``(M,)`` int64, objects without a detection.
    :ivar wrong: ``(F,)`` int64, detections without an object, outside ignore regions.
    """

    pairs: NDArray[np.int64]
    missed: NDArray[np.int64]
    wrong: NDArray[np.int64]


def match_detections(
    sample: Sample, detections: Detections, score_threshold: float, iou_threshold: float = 0.5
) -> MatchResult:
    """
    Pair objects with detections, each with one at most.

    Pairs of one class come first, so that no other class takes the place of what is right; among
    them the larger IoU. A detection that is left is not counted where it lies, by
    ``iou_threshold`` of its own area, in an ignore region of its class or of any class.

    :param sample: the annotations.
    :param detections: what was found.
    :param score_threshold: detections under it are left out.
    :param iou_threshold: smallest IoU of a pair.
    :return: what became of each.
    """
    seen = np.flatnonzero(detections.scores >= score_threshold)
    boxes, labels = detections.boxes[seen].astype(np.float64), detections.labels[seen]
    ious = boxes_of.box_iou(sample.boxes.astype(np.float64), boxes)
    same = sample.labels[:, None] == labels
    rows, columns = np.nonzero(ious >= iou_threshold)
    order = np.lexsort((-ious[rows, columns], ~same[rows, columns]))
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist()):
        if row not in pairs and column not in taken:
            pairs[row] = column
            taken.add(column)
    left = np.array([index for index in range(len(seen)) if index not in taken], np.int64)
    shares = boxes_of.box_ioa(boxes[left], sample.ignore.astype(np.float64))
    hides = (sample.ignore_labels == labels[left][:, None]) | (sample.ignore_labels == ANY_CLASS)
    hidden = (hides & (shares >= iou_threshold)).any(axis=1)
    found = np.array(sorted(pairs.items()), np.int64).reshape(-1, 2)
    return MatchResult(
        np.stack((found[:, 0], seen[found[:, 1]]), axis=1),
        np.array([row for row in range(len(sample.boxes)) if row not in pairs], np.int64),
        seen[left[~hidden]],
    )


def confusion_matrix(
    samples: Sequence[Sample],
    found: Sequence[Detections],
    outcomes: Sequence[MatchResult],
    num_classes: int,
) -> NDArray[np.int64]:
    """
    Count what was taken for what.

    :param samples: the annotations.
    :param found: the detections of each sample.
    :param outcomes: of each sample.
    :param num_classes: C.
    :return: ``(C + 1, C + 1)``; rows are what is there, columns what was found, and the last of
        both is the background: objects missed and detections of nothing.
    """
    side = num_classes + 1
    cells = [np.zeros(0, np.int64)]
    for sample, detections, outcome in zip(samples, found, outcomes):
        ground_truth = sample.labels[outcome.pairs[:, 0]]
        cells += [
            ground_truth * side + detections.labels[outcome.pairs[:, 1]],
            sample.labels[outcome.missed] * side + num_classes,
            num_classes * side + detections.labels[outcome.wrong],
        ]
    return np.bincount(np.concatenate(cells), minlength=side * side).reshape(side, side)
