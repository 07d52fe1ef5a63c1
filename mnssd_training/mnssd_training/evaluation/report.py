"""Detections and annotations to everything that a report tells, as plain data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mnssd_perception.matching import MatchResult
from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import Sample
from mnssd_training.evaluation.confusion import confusion_matrix, match_samples
from mnssd_training.evaluation.curves import curves
from mnssd_training.evaluation.evaluate import evaluate_detections
from mnssd_training.evaluation.failures import Failure, worst_failures
from mnssd_training.evaluation.scenes import choose_scenes, count_outcome
import numpy as np

IOU = 0.5  # of the confusion matrix, the failures and the images


@dataclass(frozen=True)
class Evaluation:
    """
    Detections, scored and looked at from all sides.

    :ivar report: ``scores`` (see :func:`evaluate_detections`), ``curves``, ``confusion``,
        ``images`` and ``failures`` as data for JSON.
    :ivar outcomes: of each sample, at the score threshold.
    :ivar failures: the worst of each kind.
    :ivar scenes: numbers of the images with the most errors, worst first.
    """

    report: dict[str, Any]
    outcomes: tuple[MatchResult, ...]
    failures: tuple[Failure, ...]
    scenes: tuple[int, ...]


def make_report(
    samples: Sequence[Sample],
    found: Sequence[Detections],
    class_names: Sequence[str],
    *,
    score_threshold: float,
    ious: Sequence[float] = (0.5,),
    num_failures: int = 12,
    num_images: int = 6,
) -> Evaluation:
    """
    Look at detections from all sides.

    :param samples: the annotations.
    :param found: the detections of each sample, the doubtful ones too.
    :param class_names: in the order of the labels.
    :param score_threshold: of the confusion matrix, the failures and the images.
    :param ious: thresholds of VOC's average precision.
    :param num_failures: to choose of each kind.
    :param num_images: with the most errors, to choose.
    :return: the report.
    """
    outcomes = match_samples(samples, found, score_threshold, IOU)
    matrix = confusion_matrix(samples, found, outcomes, len(class_names))
    worst = worst_failures(samples, found, outcomes, num_failures, IOU)
    failures = [failure for failures in worst.values() for failure in failures]
    counts = [count_outcome(*one) for one in zip(samples, found, outcomes)]
    scenes = choose_scenes(counts, num_images)
    report = {
        'scores': evaluate_detections(samples, found, class_names, ious),
        'curves': curves(samples, found, class_names, IOU),
        'confusion': {
            'score_threshold': score_threshold,
            'iou_threshold': IOU,
            'names': [*class_names, 'background'],
            'matrix': matrix.tolist(),
            'normalised': (matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1))
            .round(4)
            .tolist(),
        },
        'images': [{'image': samples[index].name, **counts[index]} for index in scenes],
        'failures': [_plain(failure, samples, found, class_names) for failure in failures],
    }
    return Evaluation(report, tuple(outcomes), tuple(failures), tuple(scenes))


def _plain(
    failure: Failure,
    samples: Sequence[Sample],
    found: Sequence[Detections],
    class_names: Sequence[str],
) -> dict[str, Any]:
    """Write a failure down."""
    sample, detections = samples[failure.sample], found[failure.sample]
    row: dict[str, Any] = {
        'kind': failure.kind,
        'image': sample.name,
        'score': round(failure.score, 4),
        'iou': round(failure.iou, 4),
    }
    if failure.detection is not None:
        row['found'] = class_names[detections.labels[failure.detection]]
        row['found_box'] = detections.boxes[failure.detection].astype(float).round(2).tolist()
    if failure.object is not None:
        row['annotated'] = class_names[sample.labels[failure.object]]
        row['annotated_box'] = sample.boxes[failure.object].astype(float).round(2).tolist()
    return row
