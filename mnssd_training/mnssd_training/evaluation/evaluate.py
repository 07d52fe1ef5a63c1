"""Score detections by the measures of VOC and COCO."""

from collections.abc import Sequence
from typing import Any

from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import Sample
from mnssd_training.evaluation.coco_ap import coco_ap
from mnssd_training.evaluation.voc_ap import average_precision, ClassResult, voc_ap
import numpy as np


def evaluate_detections(
    samples: Sequence[Sample],
    found: Sequence[Detections],
    class_names: Sequence[str],
    ious: Sequence[float] = (0.5,),
) -> dict[str, Any]:
    """
    Score detections by VOC and by COCO.

    :param samples: the annotations.
    :param found: the detections of each sample.
    :param class_names: in the order of the labels.
    :param ious: further thresholds from which VOC calls a detection right; 0.5 is always there.
    :return: ``map50`` (the mean over classes with objects), ``ap50`` and ``num_objects`` by class
        name, by VOC with all points; ``voc``: threshold to the means ``all`` and ``11`` (points)
        and to ``classes``; and ``coco``, see :func:`coco_ap`.
    """
    voc: dict[str, Any] = {}
    for iou in sorted({0.5, *ious}):
        results = voc_ap(samples, found, len(class_names), iou)
        voc[f'{iou:g}'] = _voc(results, class_names)
        if iou == 0.5:
            num_objects = {n: r.num_objects for n, r in zip(class_names, results)}
    half = voc['0.5']
    return {
        'map50': half['all'] or 0.0,
        'ap50': {name: row['all'] for name, row in half['classes'].items()},
        'num_objects': num_objects,
        'voc': voc,
        'coco': coco_ap(samples, found, class_names),
    }


def _voc(results: Sequence[ClassResult], class_names: Sequence[str]) -> dict[str, Any]:
    """Average the classes that have objects, by either interpolation."""
    classes: dict[str, dict[str, float | None]] = {}
    for name, result in zip(class_names, results):
        there = result.num_objects > 0
        eleven = average_precision(result.recall, result.precision, '11')
        classes[name] = {'all': result.ap, '11': eleven} if there else {'all': None, '11': None}
    return {
        **{kind: _mean([row[kind] for row in classes.values()]) for kind in ('all', '11')},
        'classes': classes,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """Average the scores that are there."""
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None
