"""Outcomes to the failures that are most worth a look."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mnssd_perception.matching import MatchResult
from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import Sample
import numpy as np

Kind = Literal['false alarm', 'bad box', 'double', 'confusion', 'missed']
KINDS: dict[Kind, str] = {
    'false alarm': 'Found with a high score where nothing is annotated.',
    'bad box': 'Found, but the box fits the object too badly to count.',
    'double': 'Found again although another detection has the object.',
    'confusion': 'Found, but taken for another class.',
    'missed': 'Annotated, and not found; the largest first.',
}
NEAR = 0.1  # a detection that shares less than this IoU with an object has nothing to do with it
MOST_OF_ONE = 2  # failures of a kind from one image, so that one bad scene is not all


@dataclass(frozen=True)
class Failure:
    """
    One thing that went wrong.

    :ivar kind: what went wrong.
    :ivar sample: number of the image.
    :ivar detection: number of the detection, or None.
    :ivar object: number of the object, or None.
    :ivar score: of the detection; of a missed object the best score of its class that was near
        it, under the threshold, or 0.
    :ivar iou: of the two.
    """

    kind: Kind
    sample: int
    detection: int | None
    object: int | None
    score: float
    iou: float


def worst_failures(
    samples: Sequence[Sample],
    found: Sequence[Detections],
    outcomes: Sequence[MatchResult],
    most: int = 12,
    iou_threshold: float = 0.5,
) -> dict[Kind, list[Failure]]:
    """
    Choose the worst failures of each kind.

    :param samples: the annotations.
    :param found: the detections of each sample.
    :param outcomes: of each sample.
    :param most: failures of a kind.
    :param iou_threshold: from which the outcomes call a detection right.
    :return: kind to failures, worst first.
    """
    every: list[Failure] = []
    for index, (sample, detections, outcome) in enumerate(zip(samples, found, outcomes)):
        every += _failures(index, sample, detections, outcome, iou_threshold)

    def badness(failure: Failure) -> float:
        if failure.kind != 'missed':
            return failure.score
        x1, y1, x2, y2 = samples[failure.sample].boxes[failure.object]
        return float((x2 - x1) * (y2 - y1))

    every.sort(key=badness, reverse=True)
    worst: dict[Kind, list[Failure]] = {kind: [] for kind in KINDS}
    for failure in every:
        chosen = worst[failure.kind]
        of_one = sum(other.sample == failure.sample for other in chosen)
        if len(chosen) < most and of_one < MOST_OF_ONE:
            chosen.append(failure)
    return worst


def _failures(
    index: int, sample: Sample, detections: Detections, outcome: MatchResult, iou_threshold: float
) -> Iterator[Failure]:
    """Name what went wrong in one image."""
    ious = boxes_of.box_iou(detections.boxes, sample.boxes)
    for row, column in outcome.misclassified.tolist():
        score = float(detections.scores[column])
        yield Failure('confusion', index, column, row, score, float(ious[column, row]))
    for column in outcome.false_positives.tolist():
        own = np.where(sample.labels == detections.labels[column], ious[column], 0.0)
        row = int(own.argmax()) if len(own) else None
        iou = float(own.max(initial=0.0))
        score = float(detections.scores[column])
        if iou >= iou_threshold:
            yield Failure('double', index, column, row, score, iou)
        elif iou >= NEAR:
            yield Failure('bad box', index, column, row, score, iou)
        else:
            yield Failure('false alarm', index, column, None, score, 0.0)
    for row in outcome.false_negatives.tolist():
        near = (detections.labels == sample.labels[row]) & (ious[:, row] >= iou_threshold)
        # What is over the threshold and near answers for another object.
        near[outcome.true_positives[:, 1]] = False
        near[outcome.misclassified[:, 1]] = False
        near[outcome.false_positives] = False
        score = float(detections.scores[near].max(initial=0.0))
        iou = float(ious[near, row].max(initial=0.0))
        yield Failure('missed', index, None, row, score, iou)
