"""Scores through the post-process that flies."""

import json

from mnssd_perception.detector import Detector
from mnssd_perception.ssd import Detections
from mnssd_training.data import Sample
from mnssd_training.evaluation import detect_samples, evaluate_detections, SCORING
from mnssd_training.model import MobileNetSsd, TorchEngine
import numpy as np
import pytest

NAMES = ('Person', 'Car', 'Bicycle', 'OtherVehicle')


def ground_truth(sample: Sample) -> Detections:
    scores = np.linspace(0.9, 0.5, len(sample.boxes)).astype(np.float32)
    return Detections(sample.boxes, scores, sample.labels)


def test_the_annotations_themselves_score_one(train_samples: list[Sample]) -> None:
    scores = evaluate_detections(train_samples, list(map(ground_truth, train_samples)), NAMES)
    assert scores['map50'] == pytest.approx(1.0)
    assert scores['ap50'] == pytest.approx(dict.fromkeys(NAMES, 1.0))
    assert scores['num_objects'] == {'Person': 4, 'Car': 10, 'Bicycle': 2, 'OtherVehicle': 1}
    assert scores['coco']['ap'] == pytest.approx(1.0)


def test_hidden_objects_are_not_counted(val_samples: list[Sample]) -> None:
    """A DontCare, difficult objects and an empty image."""
    found = [
        Detections(
            np.concatenate((sample.ignore, sample.boxes)),
            np.linspace(0.9, 0.5, len(sample.ignore) + len(sample.boxes)).astype(np.float32),
            np.concatenate((sample.ignore_labels.clip(0), sample.labels)),
        )
        for sample in val_samples
    ]
    scores = evaluate_detections(val_samples, found, NAMES)
    assert scores['map50'] == pytest.approx(1.0)
    assert scores['num_objects'] == {'Person': 5, 'Car': 9, 'Bicycle': 3, 'OtherVehicle': 0}
    assert scores['ap50']['OtherVehicle'] is None
    assert scores['coco']['ap50'] == pytest.approx(1.0)


def test_finding_nothing(train_samples: list[Sample]) -> None:
    scores = evaluate_detections(train_samples, [Detections.empty()] * 4, NAMES)
    assert (scores['map50'], scores['coco']['ap']) == (0.0, 0.0)


def test_scores_are_plain_data(model: MobileNetSsd, train_samples: list[Sample]) -> None:
    detections = detect_samples(Detector(TorchEngine(model), SCORING), train_samples[:1])
    scores = evaluate_detections(train_samples[:1], detections, model.spec.class_names)
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
