"""Score detections against annotations."""

from mnssd_training.evaluation.coco_ap import coco_ap, CocoMetrics, CocoScores
from mnssd_training.evaluation.detect import detect_samples, SCORING
from mnssd_training.evaluation.scores import evaluate_detections, Scores, scores_to_json
from mnssd_training.evaluation.voc_ap import average_precision, ClassResult, voc_ap

__all__ = [
    'average_precision',
    'ClassResult',
    'coco_ap',
    'CocoMetrics',
    'CocoScores',
    'detect_samples',
    'evaluate_detections',
    'Scores',
    'scores_to_json',
    'SCORING',
    'voc_ap',
]
