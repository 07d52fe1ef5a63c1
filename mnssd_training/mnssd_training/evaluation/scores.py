"""Score detections by PASCAL VOC and by COCO."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mnssd_perception.serialization import to_plain
from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import Sample
from mnssd_training.evaluation.coco_ap import coco_ap, CocoScores
from mnssd_training.evaluation.voc_ap import average_precision, voc_ap
import numpy as np


@dataclass(frozen=True)
class VocMetrics:
    """VOC's average precision by both interpolations; None where there is no object."""

    all_points: float | None
    eleven_points: float | None


@dataclass(frozen=True)
class VocScores(VocMetrics):
    """The means over the classes that have objects, and the metrics of each class by name."""

    classes: dict[str, VocMetrics]


@dataclass(frozen=True)
class Scores:
    """VOC's AP at IoU 0.5 (all points), and all scores of VOC by IoU as in '0.5', and of COCO."""

    map50: float  # mean over the classes that have objects
    ap50: dict[str, float | None]  # by class name
    num_objects: dict[str, int]  # by class name
    voc: dict[str, VocScores]
    coco: CocoScores


def evaluate_detections(
    samples: Sequence[Sample],
    detections: Sequence[Detections],
    class_names: Sequence[str],
    ious: Sequence[float] = (0.5,),
) -> Scores:
    """Score the detections of each sample, by VOC at IoU 0.5 and the IoU thresholds ``ious``."""
    voc = {}
    num_objects = {}
    for iou in sorted({0.5, *ious}):
        classes = {}
        for name, result in zip(class_names, voc_ap(samples, detections, len(class_names), iou)):
            num_objects[name] = result.num_objects
            classes[name] = VocMetrics(None, None)
            if result.num_objects:
                eleven_points = average_precision(result.recall, result.precision, '11')
                classes[name] = VocMetrics(result.ap, eleven_points)
        voc[f'{iou:g}'] = VocScores(
            _mean([metrics.all_points for metrics in classes.values()]),
            _mean([metrics.eleven_points for metrics in classes.values()]),
            classes,
        )
    half = voc['0.5']
    return Scores(
        map50=half.all_points or 0.0,
        ap50={name: metrics.all_points for name, metrics in half.classes.items()},
        num_objects=num_objects,
        voc=voc,
        coco=coco_ap(samples, detections, class_names),
    )


def scores_to_json(scores: Scores) -> dict[str, Any]:
    """Write scores as reports, ``metrics.jsonl``, checkpoints and bundles hold them."""

    def to_json(metrics: VocMetrics) -> dict[str, Any]:
        return {'all': metrics.all_points, '11': metrics.eleven_points}

    voc = {
        iou: {
            **to_json(means),
            'classes': {name: to_json(metrics) for name, metrics in means.classes.items()},
        }
        for iou, means in scores.voc.items()
    }
    plain: dict[str, Any] = to_plain(scores)
    return {**plain, 'voc': voc}


def _mean(values: Sequence[float | None]) -> float | None:
    """Average the values that exist."""
    existing = [value for value in values if value is not None]
    return float(np.mean(existing)) if existing else None
