"""
Detections and annotations to average precision, as PASCAL VOC defines it.

Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010, section 4.2: detections
of a class are taken best first over all images; each belongs to the object it overlaps most,
and is right if that object is free and the IoU reaches the threshold.

COCO lets a detection take the next best object instead where the best is taken, so its numbers
differ in a crowd. Two habits of VOC's devkit are left behind: edges are continuous (it adds a
pixel to each side), and what is difficult is an ignore region as for COCO (it asks for the IoU).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import ANY_CLASS, Sample
import numpy as np
from numpy.typing import NDArray

Interpolation = Literal['all', '11', '101']


@dataclass(frozen=True)
class ClassResult:
    """
    The score of one class.

    :ivar ap: average precision in [0, 1]; NaN if there is no object.
    :ivar num_objects: objects that count.
    :ivar recall: ``(D,)`` after each counted detection, best first.
    :ivar precision: ``(D,)``.
    :ivar scores: ``(D,)`` float32, of these detections.
    """

    ap: float
    num_objects: int
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    scores: NDArray[np.float32]


def voc_ap(
    samples: Sequence[Sample],
    found: Sequence[Detections],
    num_classes: int,
    iou_threshold: float = 0.5,
    interpolation: Interpolation = 'all',
) -> list[ClassResult]:
    """
    Score detections.

    A detection that has no object and lies, by ``iou_threshold`` of its own area, in an ignore
    region of its class or of any class, is not counted.

    :param samples: the annotations.
    :param found: the detections of each sample.
    :param num_classes: C.
    :param iou_threshold: from which a detection is right.
    :param interpolation: ``all`` (VOC since 2010), ``11`` (VOC 2007) or ``101`` points (COCO).
    :return: a result a class.
    """
    return [
        _score_class(samples, found, label, iou_threshold, interpolation)
        for label in range(num_classes)
    ]


def _score_class(
    samples: Sequence[Sample],
    found: Sequence[Detections],
    label: int,
    iou_threshold: float,
    interpolation: Interpolation,
) -> ClassResult:
    """Score one class."""
    scores, verdicts, num_objects = [np.zeros(0, np.float32)], [np.zeros(0, np.int8)], 0
    for sample, detections in zip(samples, found):
        objects = sample.boxes[sample.labels == label]
        hidden = (sample.ignore_labels == label) | (sample.ignore_labels == ANY_CLASS)
        own = detections.labels == label
        num_objects += len(objects)
        scores.append(detections.scores[own])
        verdicts.append(
            _judge(detections.boxes[own], objects, sample.ignore[hidden], iou_threshold)
        )
    score, verdict = np.concatenate(scores), np.concatenate(verdicts)
    order = np.argsort(-score, kind='stable')
    order = order[verdict[order] != NOT_COUNTED]
    score, verdict = score[order], verdict[order]
    right = np.cumsum(verdict == RIGHT)
    recall = right / max(num_objects, 1)
    precision = right / np.arange(1, len(right) + 1)
    ap = average_precision(recall, precision, interpolation) if num_objects else float('nan')
    return ClassResult(ap, num_objects, recall, precision, score)


WRONG, RIGHT, NOT_COUNTED = 0, 1, 2


def _judge(
    boxes: NDArray[np.float32],
    objects: NDArray[np.float32],
    ignore: NDArray[np.float32],
    iou_threshold: float,
) -> NDArray[np.int8]:
    """Tell of each detection of one image, best first, what it is."""
    verdict = np.full(len(boxes), WRONG, np.int8)
    if not len(boxes):
        return verdict
    shares = boxes_of.box_ioa(boxes.astype(np.float64), ignore.astype(np.float64))
    verdict[shares.max(axis=1, initial=0) >= iou_threshold] = NOT_COUNTED
    if not len(objects):
        return verdict
    # In float64, as COCO's counters compute: a detection just at the threshold is judged alike.
    ious = boxes_of.box_iou(boxes.astype(np.float64), objects.astype(np.float64))
    nearest = ious.argmax(axis=1)
    hits = np.flatnonzero(ious[np.arange(len(boxes)), nearest] >= iou_threshold)
    _, first = np.unique(nearest[hits], return_index=True)
    verdict[hits] = WRONG  # a second detection of an object is wrong, even in an ignore region
    verdict[hits[first]] = RIGHT
    return verdict


def average_precision(
    recall: NDArray[np.float64], precision: NDArray[np.float64], interpolation: Interpolation
) -> float:
    """
    Measure the area under a precision-recall curve.

    :param recall: ``(D,)`` rising.
    :param precision: ``(D,)``.
    :param interpolation: how the area is measured.
    :return: in [0, 1].
    """
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if interpolation == 'all':
        steps = np.diff(recall, prepend=0.0)
        return float((steps * envelope).sum())
    # Tenths that are exact: 3 of 10 objects reach a recall of 0.3, but not 3 * 0.1, which is more.
    points = np.arange(11) / 10 if interpolation == '11' else np.linspace(0, 1, 101)
    index = np.searchsorted(recall, points, side='left')
    return float(np.append(envelope, 0.0)[index].sum() / len(points))
