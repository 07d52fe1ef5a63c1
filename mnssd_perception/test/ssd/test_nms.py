"""Tests of non-maximum suppression: it is the plain greedy loop over boxes."""

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.ssd import nms
import numpy as np
import pytest


def greedy(boxes, labels, threshold):
    """Suppress as everybody first writes it: best first, drop what overlaps something kept."""
    boxes, kept, keep = boxes.tolist(), [], []
    for box, label in zip(boxes, labels.tolist(), strict=True):
        good = all(label != other or iou(box, rival) <= threshold for rival, other in kept)
        keep.append(good)
        if good:
            kept.append((box, label))
    return np.array(keep, bool)


def iou(box, other):
    """Compare two boxes in plain Python."""
    wide = min(box[2], other[2]) - max(box[0], other[0])
    high = min(box[3], other[3]) - max(box[1], other[1])
    if wide <= 0 or high <= 0:
        return 0.0
    shared = wide * high
    areas = [max(b[2] - b[0], 0) * max(b[3] - b[1], 0) for b in (box, other)]
    return shared / (sum(areas) - shared)


def suppressed(boxes, labels=None, threshold=0.5):
    """Run the function under test on lists."""
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    labels = np.zeros(len(boxes), np.int64) if labels is None else np.array(labels, np.int64)
    return nms(boxes, labels, threshold).tolist()


A, NEAR_A, FAR = [0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]


@pytest.mark.parametrize(
    ('boxes', 'labels', 'threshold', 'keep'),
    [
        ([], [], 0.5, []),
        ([A], [0], 0.5, [True]),
        ([A, NEAR_A, FAR], [0, 0, 0], 0.5, [True, False, True]),
        ([A, NEAR_A, FAR], [0, 1, 0], 0.5, [True, True, True]),
        ([A, NEAR_A], [0, 0], 0.9, [True, True]),
        ([A, NEAR_A], [0, 0], 0.89, [True, False]),
        ([A, A, A], [0, 0, 0], 1.0, [True, True, True]),
        ([A, A, A], [0, 0, 0], 0.99, [True, False, False]),
        ([A, [10, 0, 20, 10]], [0, 0], 0.0, [True, True]),
        ([A, [9, 9, 20, 20]], [0, 0], 0.0, [True, False]),
        ([[5, 5, 5, 5], [5, 5, 5, 5]], [0, 0], 0.0, [True, True]),
        # The second falls to the first and so no longer suppresses the third.
        ([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], [0, 0, 0], 0.3, [True, False, True]),
        # Labels are interleaved and need not be dense.
        ([A, FAR, A, FAR, A], [7, 2, 7, 2, 2], 0.5, [True, True, False, False, True]),
    ],
    ids=[
        'empty', 'one', 'three', 'two labels', 'at the threshold', 'above it', 'identical, 1',
        'identical', 'touching, 0', 'overlapping, 0', 'points', 'chain', 'interleaved',
    ],
)  # fmt: skip
def test_golden(boxes, labels, threshold, keep):
    assert suppressed(boxes, labels, threshold) == keep


@pytest.mark.parametrize('seed', range(8))
def test_nms_equals_the_greedy_loop_on_a_grid(seed):
    # Whole edges and thresholds of few bits: IoUs at the threshold itself, identical boxes and
    # boxes without area are common, and both sides compute without rounding.
    generator = np.random.default_rng(seed)
    for _ in range(250):
        num = int(generator.integers(0, 25))
        boxes = generator.integers(0, 9, (num, 4)).astype(np.float32)
        if generator.random() < 0.8:
            boxes = np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)
        labels = generator.integers(0, 3, num)
        threshold = float(generator.choice([0.0, 0.25, 0.5, 0.75, 1.0]))
        found = nms(boxes, labels, threshold)
        np.testing.assert_array_equal(found, greedy(boxes, labels, threshold))


@pytest.mark.parametrize('seed', range(8))
def test_nms_equals_the_greedy_loop_in_crowds(seed):
    generator = np.random.default_rng(1000 + seed)
    for _ in range(100):
        num = int(generator.integers(1, 50))
        corner = generator.uniform(0, 30, (num, 2))
        size = generator.uniform(2, 25, (num, 2))
        boxes = np.concatenate((corner, corner + size), axis=1).astype(np.float32)
        labels = generator.integers(0, int(generator.integers(1, 5)), num)
        threshold = float(generator.uniform(0, 1))
        found = nms(boxes, labels, threshold)
        np.testing.assert_array_equal(found, greedy(boxes, labels, threshold))


def test_nms_equals_the_greedy_loop_on_a_long_chain():
    # Each box overlaps only its neighbours: the most rounds that the fixed point can take.
    left = np.arange(300, dtype=np.float32) * 6
    boxes = np.stack((left, left * 0, left + 10, left * 0 + 10), axis=1)
    labels = np.zeros(300, np.int64)
    found = nms(boxes, labels, 0.2)
    np.testing.assert_array_equal(found, greedy(boxes, labels, 0.2))
    assert found.tolist() == [True, False] * 150


boxes_of_few_edges = st.lists(
    st.tuples(*[st.integers(0, 6)] * 4, st.integers(0, 2)), min_size=0, max_size=12
)


@settings(max_examples=200, deadline=None)
@given(boxes_of_few_edges, st.sampled_from([0.0, 0.125, 0.5, 1.0]))
def test_nms_is_idempotent(rows, threshold):
    boxes = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    labels = np.array([row[4] for row in rows], np.int64)
    keep = nms(boxes, labels, threshold)
    np.testing.assert_array_equal(keep, greedy(boxes, labels, threshold))
    assert keep[:1].all()
    assert nms(boxes[keep], labels[keep], threshold).all()
