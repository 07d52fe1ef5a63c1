"""Tests of the result of a frame."""

from mnssd_perception.recording import FrameResult
from mnssd_perception.ssd import Detections
import numpy as np


def result(labels: list[int]) -> FrameResult:
    boxes, scores = np.zeros((len(labels), 4), np.float32), np.ones(len(labels), np.float32)
    detections = Detections(boxes, scores, np.array(labels, np.int64))
    return FrameResult(0, 0, 'camera', None, detections, {0: 'Person', 1: 'Car'})


def test_no_detections_give_no_counts() -> None:
    assert result([]).counts() == {}


def test_counts_are_by_name_in_the_order_of_the_labels() -> None:
    counts = result([7, 1, 0, 1]).counts()
    assert list(counts.items()) == [('Person', 1), ('Car', 2), ('7', 1)]
