"""Tests of the detections."""

from dataclasses import FrozenInstanceError

from mnssd_perception.ssd import Detections, RawHeads
import numpy as np
import pytest


def test_empty():
    found = Detections.empty()
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (
        np.float32,
        np.float32,
        np.int64,
    )


def test_counts_the_objects():
    assert len(Detections(np.zeros((3, 4)), np.zeros(3), np.zeros(3, np.int64))) == 3


@pytest.mark.parametrize(
    ('boxes', 'labels'), [((2, 4), (3,)), ((3, 5), (3,)), ((3, 4), (2,)), ((12,), (3,))]
)
def test_arrays_of_different_lengths_are_refused(boxes, labels):
    with pytest.raises(ValueError, match='beside 3 scores'):
        Detections(np.zeros(boxes), np.zeros(3), np.zeros(labels, np.int64))


def test_frozen():
    with pytest.raises(FrozenInstanceError):
        Detections.empty().scores = np.zeros(0)


def test_raw_heads_are_frozen():
    heads = RawHeads(np.zeros((2, 3), np.float32), offsets=np.zeros((2, 4), np.float32))
    with pytest.raises(FrozenInstanceError):
        heads.logits = heads.offsets
