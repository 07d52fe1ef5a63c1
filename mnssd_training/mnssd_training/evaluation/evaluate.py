"""A network or a bundle to its scores, through the post-process that flies."""

from collections.abc import Callable, Sequence
from typing import Any

from mnssd_perception.detector import Detector, DetectorSettings
from mnssd_perception.ssd import (
    Detections,
    postprocess,
    resize_frame,
    resizing,
)
from mnssd_training.data.sample import load_image, Sample
from mnssd_training.evaluation.coco_ap import coco_ap
from mnssd_training.evaluation.voc_ap import voc_ap
from mnssd_training.model import MobileNetSsd
import numpy as np
from numpy.typing import NDArray

__all__ = ['detect_all', 'evaluate_detections', 'evaluate_detector', 'evaluate_model', 'SCORING']

# Average precision needs the doubtful detections too.
SCORING = DetectorSettings(score_threshold=0.01, iou_threshold=0.5, max_detections=100)
EVERYTHING = SCORING.selection(())


def evaluate_model(model: MobileNetSsd, samples: Sequence[Sample]) -> dict[str, Any]:
    """
    Score a network.

    :param model: in evaluation mode, on any device.
    :param samples: the photographs with their annotations.
    :return: see :func:`evaluate_detections`.
    """

    def detect(image: NDArray[np.uint8]) -> Detections:
        plan = resizing(image.shape[:2], model.spec.input_size, model.spec.resize)
        return postprocess(model.infer(resize_frame(image, plan)), model.spec, plan, EVERYTHING)

    return evaluate_detections(samples, detect_all(detect, samples), model.spec.class_names)


def evaluate_detector(detector: Detector, samples: Sequence[Sample]) -> dict[str, Any]:
    """
    Score a detector as it flies, engine included.

    :param detector: with settings for scoring: a low threshold and many detections.
    :param samples: the photographs with their annotations.
    :return: see :func:`evaluate_detections`.
    """
    return evaluate_detections(samples, detect_all(detector.detect, samples), detector.class_names)


def detect_all(
    detect: Callable[[NDArray[np.uint8]], Detections], samples: Sequence[Sample]
) -> list[Detections]:
    """
    Look at every photograph.

    :param detect: finds the objects in an ``(H, W, 3)`` uint8 RGB image.
    :param samples: the photographs.
    :return: the detections of each.
    """
    return [detect(load_image(sample)) for sample in samples]


def evaluate_detections(
    samples: Sequence[Sample], found: Sequence[Detections], class_names: Sequence[str]
) -> dict[str, Any]:
    """
    Score detections by VOC and by COCO.

    :param samples: the annotations.
    :param found: the detections of each sample.
    :param class_names: in the order of the labels.
    :return: ``map50`` (the mean over classes with objects), ``ap50`` and ``num_objects`` by class
        name, by VOC with all points; and ``coco``, see :func:`coco_ap`.
    """
    results = voc_ap(samples, found, len(class_names))
    ap50 = {
        name: result.ap if result.num_objects else None
        for name, result in zip(class_names, results)
    }
    there = [ap for ap in ap50.values() if ap is not None]
    return {
        'map50': float(np.mean(there)) if there else 0.0,
        'ap50': ap50,
        'num_objects': {n: r.num_objects for n, r in zip(class_names, results)},
        'coco': coco_ap(samples, found, class_names),
    }
