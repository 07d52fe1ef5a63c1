"""
Average precision and recall as COCO defines them, by object size and by class.

faster-coco-eval counts; the tests compare it with pycocotools.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mnssd_perception.ssd import boxes as box_ops
from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import ANY_CLASS, Sample
import numpy as np
from numpy.typing import NDArray

# Limits of the area of an object in square pixels of the image, both inclusive.
AREAS = {
    'all': (0.0, 1e10),
    'small': (0.0, 32.0**2),
    'medium': (32.0**2, 96.0**2),
    'large': (96.0**2, 1e10),
}
MAX_DETECTIONS = (1, 10, 100)  # of a class in an image
AP50, AP75 = 0, 5  # indices among the IoU thresholds 0.5, 0.55, ... 0.95


@dataclass(frozen=True)
class CocoMetrics:
    """
    Average precision (AP), average recall (AR) and number of objects.

    AP and AR are None where there is no such object. AP and AR of a size allow 100 detections.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar_1: float | None
    ar_10: float | None
    ar_100: float | None
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None
    num_small: int
    num_medium: int
    num_large: int


@dataclass(frozen=True)
class CocoScores(CocoMetrics):
    """Metrics over all classes, and of each class by name."""

    classes: dict[str, CocoMetrics]


def coco_ap(
    samples: Sequence[Sample], detections: Sequence[Detections], class_names: Sequence[str]
) -> CocoScores:
    """Score the detections of each sample; ignore regions become crowds."""
    precision, recall = _accumulate(samples, detections, class_names)
    num_objects = _count_by_area(samples, len(class_names))

    def metrics(classes: slice) -> list[Any]:
        """Compute the fields of ``CocoMetrics``, in their order."""
        class_precision, class_recall = precision[:, :, classes, :, -1], recall[:, classes]
        sizes = range(1, len(AREAS))
        return [
            _mean(class_precision[..., 0]),
            _mean(class_precision[AP50, ..., 0]),
            _mean(class_precision[AP75, ..., 0]),
            *(_mean(class_precision[..., size]) for size in sizes),
            *(_mean(class_recall[:, :, 0, num]) for num in range(len(MAX_DETECTIONS))),
            *(_mean(class_recall[:, :, size, -1]) for size in sizes),
            *(int(num_objects[classes, size].sum()) for size in sizes),
        ]

    by_class = {
        name: CocoMetrics(*metrics(slice(index, index + 1)))
        for index, name in enumerate(class_names)
    }
    return CocoScores(**vars(CocoMetrics(*metrics(slice(None)))), classes=by_class)


def _accumulate(
    samples: Sequence[Sample], detections: Sequence[Detections], class_names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute precision ``(IoU, recall, class, area, max)`` and recall ``(IoU, class, ...)``."""
    from faster_coco_eval import COCO, COCOeval_faster

    ground_truth = COCO(coco_annotations(samples, class_names))
    predictions = COCO({**ground_truth.dataset, 'annotations': []})
    if results := coco_results(detections):  # loadRes fails on an empty list
        predictions = ground_truth.loadRes(results)
    evaluation = COCOeval_faster(ground_truth, predictions, 'bbox', print_function=lambda *_: None)
    parameters = evaluation.params
    parameters.areaRng, parameters.areaRngLbl = list(AREAS.values()), list(AREAS)
    parameters.maxDets = list(MAX_DETECTIONS)
    shape = (len(class_names), len(AREAS), len(MAX_DETECTIONS))
    recall_shape = (len(parameters.iouThrs), *shape)
    precision_shape = (len(parameters.iouThrs), len(parameters.recThrs), *shape)
    if not samples:
        return np.full(precision_shape, -1.0), np.full(recall_shape, -1.0)
    evaluation.evaluate()
    evaluation.accumulate()
    precision, recall = evaluation.eval['precision'], evaluation.eval['recall']
    return np.reshape(precision, precision_shape), np.reshape(recall, recall_shape)


def coco_annotations(samples: Sequence[Sample], class_names: Sequence[str]) -> dict[str, Any]:
    """Write annotations as ``instances.json``; ids of images and categories begin at 1."""
    annotations: list[dict[str, Any]] = []
    for image_id, sample in enumerate(samples, start=1):
        boxes = [(box, label, 0) for box, label in zip(sample.boxes, sample.labels)]
        for region, label in zip(sample.ignore, sample.ignore_labels):
            hidden = range(len(class_names)) if label == ANY_CLASS else [label]
            boxes += [(region, hidden_label, 1) for hidden_label in hidden]
        for box, label, is_crowd in boxes:
            x1, y1, x2, y2 = map(float, box)
            annotation = {
                'id': len(annotations) + 1,
                'image_id': image_id,
                'category_id': int(label) + 1,
                'bbox': [x1, y1, x2 - x1, y2 - y1],
                'area': (x2 - x1) * (y2 - y1),
                'iscrowd': is_crowd,
            }
            annotations.append(annotation)
    return {
        'info': {},
        'images': [{'id': number} for number in range(1, len(samples) + 1)],
        'annotations': annotations,
        'categories': [{'id': i, 'name': name} for i, name in enumerate(class_names, start=1)],
    }


def coco_results(detections: Sequence[Detections]) -> list[dict[str, Any]]:
    """Write the detections of each image as a COCO results file."""
    return [
        {
            'image_id': image_id,
            'category_id': int(label) + 1,
            'bbox': [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
            'score': float(score),
        }
        for image_id, per_image in enumerate(detections, start=1)
        for (x1, y1, x2, y2), score, label in zip(
            per_image.boxes.astype(np.float64), per_image.scores, per_image.labels
        )
    ]


def _count_by_area(samples: Sequence[Sample], num_classes: int) -> NDArray[np.int64]:
    """Count objects by class and range of area: ``(C, 4)``."""
    labels = np.concatenate([np.zeros(0, np.int64), *(sample.labels for sample in samples)])
    areas = np.concatenate([np.zeros(0), *(box_ops.box_area(sample.boxes) for sample in samples)])
    low, high = np.array(list(AREAS.values())).T
    is_inside = (areas[:, None] >= low) & (areas[:, None] <= high)
    is_class = labels == np.arange(num_classes)[:, None]
    return is_class.astype(np.int64) @ is_inside.astype(np.int64)


def _mean(values: NDArray[np.float64]) -> float | None:
    """Average all values but -1, which marks what does not exist."""
    existing = values[values > -1]
    return float(existing.mean()) if existing.size else None
