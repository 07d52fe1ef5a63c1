"""
Average precision as PASCAL VOC defines it.

Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010, section 4.2: detections
of a class are ranked by score over all images; each belongs to the object with the highest IoU,
and is a true positive if that object is free and the IoU reaches the threshold.

COCO lets a detection match the next best object if the best is taken, so its numbers differ in a
crowd. Two habits of VOC's devkit are not copied: edges are continuous (it adds a pixel to each
side), and difficult objects are ignore regions as in COCO (it asks for the IoU).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import Sample
from mnssd_training.evaluation.confusion import match_samples
import numpy as np
from numpy.typing import NDArray

Interpolation = Literal['all', '11', '101']
FALSE_POSITIVE, TRUE_POSITIVE, NOT_COUNTED = 0, 1, 2  # verdicts


@dataclass(frozen=True)
class ClassResult:
    """The result of one class, ``(D,)`` after each counted detection, highest score first."""

    ap: float  # in [0, 1]; NaN without objects
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
    Compute the average precision of each class from the detections of each sample.

    :param interpolation: ``all`` (VOC since 2010), ``11`` (VOC 2007) or ``101`` points (COCO).
    """
    verdicts = [np.zeros(0, np.int8)]
    matches = match_samples(samples, detections, 0.0, iou_threshold, 'voc')
    for image_detections, match in zip(detections, matches):
        verdict = np.full(len(image_detections), FALSE_POSITIVE, np.int8)
        verdict[match.true_positives[:, 1]] = TRUE_POSITIVE
        verdict[match.ignored] = NOT_COUNTED
        verdicts.append(verdict)
    verdict = np.concatenate(verdicts)
    score = np.concatenate([np.zeros(0, np.float32), *(each.scores for each in detections)])
    label = np.concatenate([np.zeros(0, np.int64), *(each.labels for each in detections)])
    object_labels = np.concatenate([np.zeros(0, np.int64), *(s.labels for s in samples)])
    results = []
    for index in range(num_classes):
        rows = np.flatnonzero((label == index) & (verdict != NOT_COUNTED))
        rows = rows[np.argsort(-score[rows], kind='stable')]
        num_true_positives = np.cumsum(verdict[rows] == TRUE_POSITIVE)
        num_objects = int((object_labels == index).sum())
        recall = num_true_positives / max(num_objects, 1)
        precision = num_true_positives / np.arange(1, len(rows) + 1)
        ap = average_precision(recall, precision, interpolation) if num_objects else float('nan')
        results.append(ClassResult(ap, num_objects, recall, precision, score[rows]))
    return results


def average_precision(
    recall: NDArray[np.float64], precision: NDArray[np.float64], interpolation: Interpolation
) -> float:
    """Compute the area, in [0, 1], under a precision-recall curve with ``(D,)`` rising recall."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if interpolation == 'all':
        steps = np.diff(recall, prepend=0.0)
        return float((steps * envelope).sum())
    # Tenths that are exact: 3 of 10 objects reach a recall of 0.3, but not 3 * 0.1, which is more.
    points = np.arange(11) / 10 if interpolation == '11' else np.linspace(0, 1, 101)
    index = np.searchsorted(recall, points, side='left')
    return float(np.append(envelope, 0.0)[index].sum() / len(points))
