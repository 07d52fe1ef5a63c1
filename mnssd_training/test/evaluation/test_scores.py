"""Scores of detections by VOC and COCO."""

import json

from mnssd_perception.detector import Detector
from mnssd_perception.ssd import Detections
from mnssd_training.data import Sample
from mnssd_training.evaluation import detect_samples, evaluate_detections, scores_to_json, SCORING
from mnssd_training.model import MobileNetSsd, TorchEngine
import numpy as np
import pytest

NAMES = ('Person', 'Car', 'Bicycle', 'OtherVehicle')


def ground_truth(sample: Sample) -> Detections:
    scores = np.linspace(0.9, 0.5, len(sample.boxes)).astype(np.float32)
    return Detections(sample.boxes, scores, sample.labels)


def test_the_ground_truth_scores_one(train_samples: list[Sample]) -> None:
    scores = evaluate_detections(train_samples, list(map(ground_truth, train_samples)), NAMES)
    assert scores.map50 == pytest.approx(1.0)
    assert scores.ap50 == pytest.approx(dict.fromkeys(NAMES, 1.0))
    assert scores.num_objects == {'Person': 4, 'Car': 10, 'Bicycle': 2, 'OtherVehicle': 1}
    assert scores.coco.ap == pytest.approx(1.0)


def test_detections_in_ignore_regions_are_not_counted(val_samples: list[Sample]) -> None:
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
    assert scores.map50 == pytest.approx(1.0)
    assert scores.num_objects == {'Person': 5, 'Car': 9, 'Bicycle': 3, 'OtherVehicle': 0}
    assert scores.ap50['OtherVehicle'] is None
    assert scores.coco.ap50 == pytest.approx(1.0)


def test_no_detections_score_zero(train_samples: list[Sample]) -> None:
    scores = evaluate_detections(train_samples, [Detections.empty()] * 4, NAMES)
    assert (scores.map50, scores.coco.ap) == (0.0, 0.0)


def test_scores_become_json_with_the_keys_of_former_versions(
    model: MobileNetSsd, train_samples: list[Sample]
) -> None:
    detections = detect_samples(Detector(TorchEngine(model), SCORING), train_samples[:1])
    plain = scores_to_json(
        evaluate_detections(train_samples[:1], detections, model.spec.class_names)
    )
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert list(plain) == ['map50', 'ap50', 'num_objects', 'voc', 'coco']
    assert list(plain['voc']['0.5']) == ['all', '11', 'classes']
    assert set(plain['coco']) - set(plain['coco']['classes']['Car']) == {'classes'}
