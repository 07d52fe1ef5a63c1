"""Score detections against annotations."""

from mnssd_training.evaluation.coco_ap import coco_ap
from mnssd_training.evaluation.detect import detect_samples, SCORING
from mnssd_training.evaluation.evaluate import evaluate_detections
from mnssd_training.evaluation.voc_ap import average_precision, ClassResult, voc_ap

__all__ = [
    'average_precision',
    'ClassResult',
    'coco_ap',
    'detect_samples',
    'evaluate_detections',
    'SCORING',
    'voc_ap',
]
