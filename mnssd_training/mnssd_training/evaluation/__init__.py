"""Detections against annotations: how good a network is."""

from mnssd_training.evaluation.coco_ap import coco_ap
from mnssd_training.evaluation.detect import detect_all, detect_model, SCORING
from mnssd_training.evaluation.evaluate import (
    evaluate_detections,
    evaluate_detector,
    evaluate_model,
)
from mnssd_training.evaluation.voc_ap import average_precision, ClassResult, voc_ap

__all__ = [
    'average_precision',
    'ClassResult',
    'coco_ap',
    'detect_all',
    'detect_model',
    'evaluate_detections',
    'evaluate_detector',
    'evaluate_model',
    'SCORING',
    'voc_ap',
]
