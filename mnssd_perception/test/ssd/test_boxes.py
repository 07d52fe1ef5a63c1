"""Tests of the geometry of boxes."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mnssd_perception.ssd import boxes as geometry
import numpy as np
import pytest

EMPTY = np.zeros((0, 4), np.float32)
QUICK = settings(max_examples=100, deadline=None)
edges = st.floats(-1e3, 1e3, width=32)
box_arrays = st.integers(0, 6).flatmap(lambda n: arrays(np.float32, (n, 4), elements=edges))


def ordered(boxes):
    """Turn boxes the right side out."""
    return np.concatenate(
        (np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])), axis=1
    )


@pytest.mark.parametrize(
    ('boxes', 'areas'),
    [
        (EMPTY, []),
        ([[0, 0, 2, 3]], [6]),
        ([[1, 1, 1, 5], [1, 1, 5, 1]], [0, 0]),
        ([[5, 0, 1, 3], [5, 5, 1, 1]], [0, 0]),
    ],
    ids=['empty', 'box', 'line', 'inside out'],
)
def test_area(boxes, areas):
    found = geometry.box_area(np.array(boxes, np.float32))
    np.testing.assert_array_equal(found, np.array(areas, np.float32))
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ('boxes', 'clipped'),
    [
        (EMPTY, EMPTY),
        ([[-5, -5, 50, 50]], [[0, 0, 20, 10]]),
        ([[1, 2, 3, 4]], [[1, 2, 3, 4]]),
        ([[30, 30, 40, 40]], [[20, 10, 20, 10]]),
    ],
    ids=['empty', 'larger', 'inside', 'outside'],
)
def test_clip(boxes, clipped):
    boxes = np.array(boxes, np.float32)
    before = boxes.copy()
    found = geometry.clip_boxes(boxes, width=20, height=10)
    np.testing.assert_array_equal(found, np.array(clipped, np.float32))
    np.testing.assert_array_equal(boxes, before)
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ('cxcywh', 'xyxy'),
    [(EMPTY, EMPTY), ([[5, 6, 4, 2]], [[3, 5, 7, 7]]), ([[0, 0, 0, 0]], [[0, 0, 0, 0]])],
    ids=['empty', 'box', 'point'],
)
def test_centres_and_edges(cxcywh, xyxy):
    cxcywh, xyxy = np.array(cxcywh, np.float32), np.array(xyxy, np.float32)
    np.testing.assert_array_equal(geometry.cxcywh_to_xyxy(cxcywh), xyxy)
    np.testing.assert_array_equal(geometry.xyxy_to_cxcywh(xyxy), cxcywh)


@QUICK
@given(box_arrays)
def test_centres_and_edges_are_inverse(boxes):
    back = geometry.cxcywh_to_xyxy(geometry.xyxy_to_cxcywh(boxes))
    np.testing.assert_allclose(back, boxes, rtol=0, atol=1e-3)


ONE = np.array([[0, 0, 4, 4]], np.float32)


@pytest.mark.parametrize(
    ('boxes', 'others', 'shared', 'iou', 'overlap'),
    [
        (EMPTY, EMPTY, np.zeros((0, 0)), np.zeros((0, 0)), np.zeros((0, 0))),
        (EMPTY, ONE, np.zeros((0, 1)), np.zeros((0, 1)), np.zeros((0, 1))),
        (ONE, EMPTY, np.zeros((1, 0)), np.zeros((1, 0)), np.zeros((1, 0))),
        (ONE, ONE, [[16]], [[1]], [[1]]),
        (ONE, [[2, 2, 6, 6]], [[4]], [[4 / 28]], [[0.25]]),
        (ONE, [[4, 0, 8, 4]], [[0]], [[0]], [[0]]),
        (ONE, [[-9, -9, 9, 9]], [[16]], [[16 / 324]], [[1]]),
        (ONE, [[2, 2, 2, 9]], [[0]], [[0]], [[0]]),
        ([[1, 1, 1, 1]], [[1, 1, 1, 1]], [[0]], [[0]], [[0]]),
        ([[3, 3, 1, 1]], ONE, [[0]], [[0]], [[0]]),
    ],
    ids=[
        'empty', 'no boxes', 'no others', 'same', 'partly', 'touching', 'inside', 'line', 'points',
        'inside out',
    ],
)  # fmt: skip
def test_pairs(boxes, others, shared, iou, overlap):
    boxes, others = np.array(boxes, np.float32), np.array(others, np.float32)
    np.testing.assert_array_equal(geometry.box_intersection(boxes, others), shared)
    np.testing.assert_allclose(geometry.box_iou(boxes, others), iou, rtol=1e-6)
    np.testing.assert_allclose(geometry.box_ioa(boxes, others), overlap, rtol=1e-6)


@QUICK
@given(box_arrays, box_arrays)
def test_iou_is_symmetric_and_within_bounds(first, second):
    first, second = ordered(first), ordered(second)
    there, back = geometry.box_iou(first, second), geometry.box_iou(second, first)
    np.testing.assert_allclose(there, back.T, rtol=1e-5)
    assert (there >= 0).all()
    assert (there <= 1).all()
    assert (geometry.box_ioa(first, second) <= 1 + 1e-5).all()


@QUICK
@given(box_arrays)
def test_iou_with_itself_is_one(boxes):
    boxes = ordered(boxes)
    found = np.diagonal(geometry.box_iou(boxes, boxes))
    np.testing.assert_array_equal(found, geometry.box_area(boxes) > 0)
