"""Detections and annotations to COCO average precision by size, counted by pycocotools."""

from collections.abc import Sequence
import contextlib
import io
from typing import Any

from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import ANY_CLASS, Sample
import numpy as np

__all__ = ['coco_ap']

STATISTICS = ('ap', 'ap50', 'ap75', 'ap_small', 'ap_medium', 'ap_large')


def coco_ap(
    samples: Sequence[Sample], found: Sequence[Detections], class_names: Sequence[str]
) -> dict[str, Any]:
    """
    Score detections the way COCO does.

    Small is an area under 32 x 32 pixels of the photograph, large is over 96 x 96. Ignore regions
    are crowds of their class, or of each class.

    :param samples: the annotations.
    :param found: the detections of each sample.
    :param class_names: in the order of the labels.
    :return: ``ap``, ``ap50``, ``ap75``, ``ap_small``, ``ap_medium``, ``ap_large``, and
        ``classes``: name to the same numbers. None where there is no such object.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = _dataset(samples, class_names)
        truth.createIndex()
        results = _results(found)
        if results:
            answer = truth.loadRes(results)
        else:  # which loadRes cannot read
            answer = COCO()
            answer.dataset = {**truth.dataset, 'annotations': []}
            answer.createIndex()
        score = COCOeval(truth, answer, 'bbox')
        score.evaluate()
        score.accumulate()
    return _summary(score.eval['precision'], class_names)


def _dataset(samples: Sequence[Sample], class_names: Sequence[str]) -> dict[str, Any]:
    """Write annotations as a COCO data set."""
    annotations: list[dict[str, Any]] = []

    def add(image: int, label: int, box: Any, crowd: bool) -> None:
        x1, y1, x2, y2 = (float(edge) for edge in box)
        annotations.append(
            {
                'id': len(annotations) + 1,
                'image_id': image,
                'category_id': label + 1,
                'bbox': [x1, y1, x2 - x1, y2 - y1],
                'area': (x2 - x1) * (y2 - y1),
                'iscrowd': int(crowd),
            }
        )

    for image, sample in enumerate(samples, start=1):
        for box, label in zip(sample.boxes, sample.labels):
            add(image, int(label), box, False)
        for box, label in zip(sample.ignore, sample.ignore_labels):
            hidden = range(len(class_names)) if label == ANY_CLASS else [int(label)]
            for one in hidden:
                add(image, one, box, True)
    return {
        'info': {},
        'images': [{'id': number} for number in range(1, len(samples) + 1)],
        'annotations': annotations,
        'categories': [{'id': i, 'name': name} for i, name in enumerate(class_names, start=1)],
    }


def _results(found: Sequence[Detections]) -> list[dict[str, Any]]:
    """Write detections as COCO results."""
    return [
        {
            'image_id': image,
            'category_id': int(label) + 1,
            'bbox': [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
            'score': float(score),
        }
        for image, detections in enumerate(found, start=1)
        for (x1, y1, x2, y2), score, label in zip(
            detections.boxes.astype(np.float64), detections.scores, detections.labels
        )
    ]


def _summary(precision: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """Average the precision array (IoU, recall, class, area, detections)."""

    def numbers(classes: slice) -> dict[str, float | None]:
        every = precision[:, :, classes, :, 2]
        parts = (
            every[..., 0],
            every[0, ..., 0],
            every[5, ..., 0],
            every[..., 1],
            every[..., 2],
            every[..., 3],
        )
        return {name: _mean(part) for name, part in zip(STATISTICS, parts)}

    return {
        **numbers(slice(None)),
        'classes': {
            name: numbers(slice(index, index + 1)) for index, name in enumerate(class_names)
        },
    }


def _mean(precision: np.ndarray) -> float | None:
    """Average what is there; -1 marks what is not."""
    there = precision[precision > -1]
    return float(there.mean()) if there.size else None
