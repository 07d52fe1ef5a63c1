"""Tests of the sighting."""

from mnssd_perception.recording import FrameResult
from mnssd_perception.ssd import Detections
import numpy as np


def sighting(labels: list[int]) -> FrameResult:
    boxes, scores = np.zeros((len(labels), 4), np.float32), np.ones(len(labels), np.float32)
    found = Detections(boxes, scores, np.array(labels, np.int64))
    return FrameResult(0, 0, 'camera', None, found, {0: 'Person', 1: 'Car'})


def test_nothing_found_counts_nothing() -> None:
    assert sighting([]).counts() == {}


def test_counts_are_by_name_in_the_order_of_the_labels() -> None:
    counts = sighting([7, 1, 0, 1]).counts()
    assert list(counts.items()) == [('Person', 1), ('Car', 2), ('7', 1)]
