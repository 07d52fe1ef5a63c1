"""Evaluate the detections of a model: scores, curves, confusion matrix and failures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mnssd_perception.matching import MatchResult
from mnssd_perception.serialization import to_plain
from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import Sample
from mnssd_training.evaluation.confusion import confusion_matrix, match_samples
from mnssd_training.evaluation.curves import compute_curves, Curves
from mnssd_training.evaluation.detect import Speed
from mnssd_training.evaluation.failures import Failure, worst_failures
from mnssd_training.evaluation.scores import evaluate_detections, Scores, scores_to_json
import numpy as np

IOU = 0.5  # of the confusion matrix, the failures and the images


@dataclass(frozen=True)
class ConfusionMatrix:
    """See :func:`confusion_matrix`."""

    score_threshold: float
    iou_threshold: float
    names: list[str]  # of the classes, then background
    matrix: list[list[int]]
    normalised: list[list[float]]  # shares of each row


@dataclass(frozen=True)
class Report:
    """The evaluation of the detections of one model."""

    model: str  # the file
    scores: Scores
    curves: Curves
    confusion: ConfusionMatrix
    worst_images: list[int]  # indices of those with the most errors, worst first
    failures: list[Failure]  # the worst of each type
    speed: Speed | None
    samples: Sequence[Sample] = field(repr=False)
    detections: Sequence[Detections] = field(repr=False)
    matches: Sequence[MatchResult] = field(repr=False)  # at the threshold of the confusion matrix


def make_report(
    samples: Sequence[Sample],
    detections: Sequence[Detections],
    class_names: Sequence[str],
    *,
    score_threshold: float,
    ious: Sequence[float] = (0.5,),
    num_failures: int = 12,
    num_images: int = 6,
    model: str = '',
    speed: Speed | None = None,
) -> Report:
    """
    Evaluate detections.

    :param detections: of each sample, including those of low score.
    :param score_threshold: of the confusion matrix, the failures and the images.
    :param ious: IoU thresholds of VOC's average precision.
    """
    matches = match_samples(samples, detections, score_threshold, IOU)
    matrix = confusion_matrix(samples, detections, matches, len(class_names))
    shares = (matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)).round(4)
    names = [*class_names, 'background']
    worst = worst_failures(samples, detections, matches, num_failures, IOU)
    worst_first = sorted(range(len(matches)), key=lambda index: -matches[index].num_errors)
    return Report(
        model,
        evaluate_detections(samples, detections, class_names, ious),
        compute_curves(samples, detections, class_names, IOU),
        ConfusionMatrix(score_threshold, IOU, names, matrix.tolist(), shares.tolist()),
        [index for index in worst_first[:num_images] if matches[index].num_errors],
        [failure for failures in worst.values() for failure in failures],
        speed,
        samples,
        detections,
        matches,
    )


def choose_differing_images(report: Report, other: Report, num: int = 6) -> list[int]:
    """Choose the images in which two models differ most by their number of errors."""

    def difference(index: int) -> int:
        return abs(report.matches[index].num_errors - other.matches[index].num_errors)

    return sorted(range(len(report.matches)), key=difference, reverse=True)[:num]


def report_to_json(
    report: Report, measured_on: dict[str, str] | None = None, other: Report | None = None
) -> dict[str, Any]:
    """Write a report, and that of another model to compare, as plain data."""
    images = []
    for index in report.worst_images:
        match = report.matches[index]
        counts = {
            'correct': len(match.true_positives),
            'confused': len(match.misclassified),
            'wrong': len(match.false_positives),
            'missed': len(match.false_negatives),
        }
        images.append({'image': report.samples[index].name, **counts})
    plain: dict[str, Any] = {
        'model': report.model,
        **({'measured_on': measured_on} if measured_on is not None else {}),
        'scores': scores_to_json(report.scores),
        'curves': to_plain(report.curves),
        'confusion': to_plain(report.confusion),
        'images': images,
        'failures': [_failure_to_json(report, failure) for failure in report.failures],
        'speed': to_plain(report.speed),
    }
    if other:
        plain['compared_with'] = report_to_json(other)
    return plain


def _failure_to_json(report: Report, failure: Failure) -> dict[str, Any]:
    sample, detections = report.samples[failure.sample], report.detections[failure.sample]
    class_names = report.confusion.names
    plain: dict[str, Any] = {
        'kind': failure.type,
        'image': sample.name,
        'score': round(failure.score, 4),
        'iou': round(failure.iou, 4),
    }
    if failure.detection is not None:
        plain['found'] = class_names[detections.labels[failure.detection]]
        plain['found_box'] = detections.boxes[failure.detection].astype(float).round(2).tolist()
    if failure.object is not None:
        plain['annotated'] = class_names[sample.labels[failure.object]]
        plain['annotated_box'] = sample.boxes[failure.object].astype(float).round(2).tolist()
    return plain
