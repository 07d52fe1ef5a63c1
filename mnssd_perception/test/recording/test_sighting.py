"""Tests of the sighting."""

from mnssd_perception.recording import Sighting
from mnssd_perception.ssd import Detections
import numpy as np


def sighting(labels: list[int], names: dict[int, str] | None = None) -> Sighting:
    boxes, scores = np.zeros((len(labels), 4), np.float32), np.ones(len(labels), np.float32)
    found = Detections(boxes, scores, np.array(labels, np.int64))
    return Sighting(0, 0, 'camera', None, found, {0: 'Person', 1: 'Car'} | (names or {}))


def test_nothing_found_counts_nothing() -> None:
    assert sighting([]).counts() == {}


def test_counts_are_by_name_in_the_order_of_the_labels() -> None:
    counts = sighting([7, 1, 0, 1]).counts()
    assert list(counts.items()) == [('Person', 1), ('Car', 2), ('7', 1)]


def test_names_are_safe_to_show() -> None:
    [name] = sighting([0], {0: 'Person\n[FATAL]\x1b[2J' + 'x' * 10**6}).counts()
    assert name.isprintable()
    assert len(name) <= 60
