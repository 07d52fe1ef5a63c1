"""Tests of the thresholds."""

from dataclasses import FrozenInstanceError

from mnssd_perception.errors import SettingsError
from mnssd_perception.ssd import Thresholds
import numpy as np
import pytest


@pytest.mark.parametrize(
    ('values', 'name'),
    [
        ({'score': 0.0}, 'score_threshold'),
        ({'score': 1.0}, 'score_threshold'),
        ({'score': 7.0}, 'score_threshold'),
        ({'score': -0.5}, 'score_threshold'),
        ({'score': float('nan')}, 'score_threshold'),
        ({'score': '0.5'}, 'score_threshold'),
        ({'score': None}, 'score_threshold'),
        ({'score': True}, 'score_threshold'),
        ({'iou': -0.1}, 'iou_threshold'),
        ({'iou': 1.1}, 'iou_threshold'),
        ({'iou': float('nan')}, 'iou_threshold'),
        ({'iou': [0.5]}, 'iou_threshold'),
        ({'max_detections': 0}, 'max_detections'),
        ({'max_detections': -1}, 'max_detections'),
        ({'max_detections': True}, 'max_detections'),
        ({'max_detections': 10.0}, 'max_detections'),
        ({'max_detections': 2001}, 'max_detections'),
    ],
)
def test_values_out_of_range_are_refused(values, name):
    with pytest.raises(SettingsError, match=name):
        Thresholds(**values)


def test_the_ends_of_the_ranges_are_accepted():
    assert Thresholds(1e-9, 0, 1).max_detections == 1
    assert Thresholds(1 - 1e-9, 1, 2000).max_detections == 2000


def test_defaults():
    assert Thresholds() == Thresholds(score=0.35, iou=0.5, max_detections=100)


def test_numpy_numbers_are_accepted():
    Thresholds(np.float32(0.5), np.float64(0.5), np.int64(3))


def test_thresholds_are_frozen():
    with pytest.raises(FrozenInstanceError):
        Thresholds().score = 0.9
