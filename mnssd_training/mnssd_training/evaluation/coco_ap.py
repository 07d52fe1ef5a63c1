"""
Detections and annotations to COCO's average precision and recall, by size and by class.

Counted by faster-coco-eval; the tests hold it against pycocotools.
"""

from collections.abc import Sequence
from typing import Any

from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import ANY_CLASS, Sample
import numpy as np
from numpy.typing import NDArray

# Limits of the area of an object, pixels of the image; both belong to it.
AREAS = {
    'all': (0.0, 1e10),
    'small': (0.0, 32.0**2),
    'medium': (32.0**2, 96.0**2),
    'large': (96.0**2, 1e10),
}
MOST = (1, 10, 100)  # detections of a class in an image
AP50, AP75 = 0, 5  # where these stand among the thresholds 0.5, 0.55, ... 0.95


def coco_ap(
    samples: Sequence[Sample], found: Sequence[Detections], class_names: Sequence[str]
) -> dict[str, Any]:
    """
    Score detections the way COCO does.

    Small is an area under 32 x 32 pixels of the image, large is over 96 x 96. Ignore regions
    are crowds of their class, or of each class.

    :param samples: the annotations.
    :param found: the detections of each sample.
    :param class_names: in the order of the labels.
    :return: average precision ``ap``, ``ap50``, ``ap75``, ``ap_small``, ``ap_medium``,
        ``ap_large``; average recall ``ar_1``, ``ar_10``, ``ar_100``, ``ar_small``, ``ar_medium``,
        ``ar_large``; objects ``num_small``, ``num_medium``, ``num_large``; and ``classes``: name
        to the same. None where there is no such object.
    """
    precision, recall = _count(samples, found, class_names)
    sizes = _count_sizes(samples, len(class_names))

    def numbers(classes: slice) -> dict[str, float | None]:
        every, reached = precision[:, :, classes, :, -1], recall[:, classes]
        return {
            'ap': _mean(every[..., 0]),
            'ap50': _mean(every[AP50, ..., 0]),
            'ap75': _mean(every[AP75, ..., 0]),
            **{f'ap_{name}': _mean(every[..., i]) for i, name in enumerate(AREAS) if i},
            **{f'ar_{most}': _mean(reached[:, :, 0, i]) for i, most in enumerate(MOST)},
            **{f'ar_{name}': _mean(reached[:, :, i, -1]) for i, name in enumerate(AREAS) if i},
            **{f'num_{name}': int(sizes[classes, i].sum()) for i, name in enumerate(AREAS) if i},
        }

    return {
        **numbers(slice(None)),
        'classes': {
            name: numbers(slice(index, index + 1)) for index, name in enumerate(class_names)
        },
    }


def _count(
    samples: Sequence[Sample], found: Sequence[Detections], class_names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count precision ``(IoU, recall, class, area, most)`` and recall ``(IoU, class, ...)``."""
    from faster_coco_eval import COCO, COCOeval_faster

    ground_truth = COCO(coco_annotations(samples, class_names))
    results = coco_results(found)
    # loadRes cannot read a list of nothing.
    answer = (
        ground_truth.loadRes(results)
        if results
        else COCO({**ground_truth.dataset, 'annotations': []})
    )
    score = COCOeval_faster(ground_truth, answer, 'bbox', print_function=lambda *_: None)
    parameters = score.params
    parameters.areaRng, parameters.areaRngLbl = list(AREAS.values()), list(AREAS)
    parameters.maxDets = list(MOST)
    shape = (len(class_names), len(AREAS), len(MOST))
    num_ious, num_recalls = len(parameters.iouThrs), len(parameters.recThrs)
    if not samples:
        return np.full((num_ious, num_recalls, *shape), -1.0), np.full((num_ious, *shape), -1.0)
    score.evaluate()
    score.accumulate()
    return (
        np.reshape(score.eval['precision'], (num_ious, num_recalls, *shape)),
        np.reshape(score.eval['recall'], (num_ious, *shape)),
    )


def coco_annotations(samples: Sequence[Sample], class_names: Sequence[str]) -> dict[str, Any]:
    """
    Write annotations as a COCO dataset.

    :param samples: numbered from 1 as images.
    :param class_names: numbered from 1 as categories.
    :return: what ``instances.json`` holds.
    """
    annotations: list[dict[str, Any]] = []

    def add(image: int, label: int, box: NDArray[np.float32], crowd: bool) -> None:
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


def coco_results(found: Sequence[Detections]) -> list[dict[str, Any]]:
    """
    Write detections as COCO results.

    :param found: the detections of each image.
    :return: what a results file holds.
    """
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


def _count_sizes(samples: Sequence[Sample], num_classes: int) -> NDArray[np.int64]:
    """Count objects by class and range of area: ``(C, 4)``."""
    labels = np.concatenate([np.zeros(0, np.int64), *(sample.labels for sample in samples)])
    areas = np.concatenate([np.zeros(0), *(boxes_of.box_area(sample.boxes) for sample in samples)])
    low, high = np.array(list(AREAS.values())).T
    inside = (areas[:, None] >= low) & (areas[:, None] <= high)
    own = labels == np.arange(num_classes)[:, None]
    return own.astype(np.int64) @ inside.astype(np.int64)


def _mean(values: NDArray[np.float64]) -> float | None:
    """Average what is there; -1 marks what is not."""
    there = values[values > -1]
    return float(there.mean()) if there.size else None
