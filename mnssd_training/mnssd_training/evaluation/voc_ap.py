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

from mnssd_perception.matching import match_detections
from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import Sample
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
    detections: Sequence[Detections],
    num_classes: int,
    iou_threshold: float = 0.5,
    interpolation: Interpolation = 'all',
) -> list[ClassResult]:
    """
    Compute the average precision of each class.

    A detection without an object that an ignore region hides is not counted, see
    :func:`mnssd_perception.matching.match_detections`.

    :param detections: of each sample.
    :param iou_threshold: smallest IoU of a true positive.
    :param interpolation: ``all`` (VOC since 2010), ``11`` (VOC 2007) or ``101`` points (COCO).
    """
    scores, labels, verdicts = [np.zeros(0, np.float32)], [np.zeros(0, np.int64)], []
    for sample, image_detections in zip(samples, detections):
        matches = match_detections(
            image_detections,
            sample.boxes,
            sample.labels,
            sample.ignore,
            sample.ignore_labels,
            rule='voc',
            iou_threshold=iou_threshold,
        )
        verdict = np.full(len(image_detections), FALSE_POSITIVE, np.int8)
        verdict[matches.true_positives[:, 1]] = TRUE_POSITIVE
        verdict[matches.ignored] = NOT_COUNTED
        scores.append(image_detections.scores)
        labels.append(image_detections.labels)
        verdicts.append(verdict)
    score, label = np.concatenate(scores), np.concatenate(labels)
    verdict = np.concatenate([np.zeros(0, np.int8), *verdicts])
    object_labels = np.concatenate([np.zeros(0, np.int64), *(s.labels for s in samples)])
    return [
        _score_class(
            score[label == index],
            verdict[label == index],
            int((object_labels == index).sum()),
            interpolation,
        )
        for index in range(num_classes)
    ]


FALSE_POSITIVE, TRUE_POSITIVE, NOT_COUNTED = 0, 1, 2


def _score_class(
    scores: NDArray[np.float32],
    verdicts: NDArray[np.int8],
    num_objects: int,
    interpolation: Interpolation,
) -> ClassResult:
    order = np.argsort(-scores, kind='stable')
    order = order[verdicts[order] != NOT_COUNTED]
    scores, verdicts = scores[order], verdicts[order]
    num_right = np.cumsum(verdicts == TRUE_POSITIVE)
    recall = num_right / max(num_objects, 1)
    precision = num_right / np.arange(1, len(num_right) + 1)
    ap = average_precision(recall, precision, interpolation) if num_objects else float('nan')
    return ClassResult(ap, num_objects, recall, precision, scores)


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
