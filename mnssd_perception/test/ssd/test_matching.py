"""Tests of matching: which prior answers for which object."""

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.errors import SettingsError
from mnssd_perception.ssd import boxes as geometry
from mnssd_perception.ssd import (
    decode_boxes,
    encode_targets,
    generate_priors,
    match_priors,
    MatchingConfig,
    ModelSpec,
    original_feature_maps,
)
import numpy as np
import pytest

EMPTY = np.zeros((0, 4), np.float32)
LABELS = np.zeros(0, np.int64)
BACKGROUND, LEFT_OUT = -1, -2

# Three priors of 10x10 side by side, in units of the network input.
ROW = np.array([[0, 0, 10, 10], [10, 0, 20, 10], [20, 0, 30, 10]], np.float32)


def matched(boxes, ignore=EMPTY, priors=ROW, **thresholds):
    """Run the function under test on lists."""
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    ignore = np.array(ignore, np.float32).reshape(-1, 4)
    return match_priors(priors, boxes, ignore, MatchingConfig(**thresholds)).tolist()


@pytest.mark.parametrize(
    ('boxes', 'ignore', 'found'),
    [
        ([], [], [-1, -1, -1]),
        ([[0, 0, 10, 10]], [], [0, -1, -1]),
        ([[20, 0, 30, 10], [0, 0, 10, 10]], [], [1, -1, 0]),
        # IoU 0.41 with both neighbours: the first is forced, the second lies in between.
        ([[3, 0, 17, 10]], [], [0, -2, -1]),
        # Too small for the threshold: forced all the same.
        ([[1, 1, 3, 3]], [], [0, -1, -1]),
        # Two objects of one best prior: the better takes it, the other the next that overlaps.
        ([[0, 0, 11, 10], [0, 0, 10, 10]], [], [1, 0, -1]),
        # No prior is left for the second.
        ([[0, 0, 10, 10], [1, 1, 9, 9]], [], [0, -1, -1]),
        # Outside of all priors.
        ([[50, 50, 60, 60]], [], [-1, -1, -1]),
        ([], [[10, 0, 20, 10]], [-1, -2, -1]),
        ([], [[5, 0, 15, 10]], [-2, -2, -1]),
        ([], [[6, 0, 15, 10]], [-1, -2, -1]),
        # An object in an ignore region is still an object.
        ([[10, 0, 20, 10]], [[0, 0, 30, 10]], [-2, 0, -2]),
        ([[11, 1, 13, 3]], [[0, 0, 30, 10]], [-2, 0, -2]),
    ],
    ids=[
        'empty', 'one', 'two', 'between', 'forced', 'shared', 'none left', 'outside', 'ignored',
        'half ignored', 'less ignored', 'object ignored', 'forced ignored',
    ],
)  # fmt: skip
def test_golden(boxes, ignore, found):
    assert matched(boxes, ignore) == found


def test_thresholds():
    box = [[2, 0, 12, 10]]  # IoU 2/3 with the first prior, 1/9 with the second
    assert matched(box, positive_iou=0.1, negative_iou=0.1) == [0, 0, -1]
    assert matched(box, positive_iou=0.5, negative_iou=0.1) == [0, -2, -1]
    assert matched(box, positive_iou=0.9, negative_iou=0.8) == [0, -1, -1]


@pytest.mark.parametrize(
    ('thresholds', 'words'),
    [
        ({'positive_iou': 1.1}, 'positive_iou: expected 0 to 1, got 1.1'),
        ({'negative_iou': -0.1}, 'negative_iou: expected 0 to 1, got -0.1'),
        ({'ignore_overlap': float('nan')}, 'ignore_overlap: expected 0 to 1, got nan'),
        ({'positive_iou': 0.3}, 'negative_iou: expected at most positive_iou 0.3, got 0.4'),
    ],
    ids=['more than whole', 'less than none', 'not a number', 'both'],
)
def test_invalid_thresholds_are_refused(thresholds, words):
    with pytest.raises(SettingsError, match=words):
        MatchingConfig(**thresholds)


def test_the_ends_of_the_range_are_accepted():
    assert MatchingConfig(0.0, 0.0, 0.0) == MatchingConfig(
        positive_iou=0, negative_iou=0, ignore_overlap=0
    )
    assert MatchingConfig(1.0, 1.0, 1.0).negative_iou == 1.0


edge = st.integers(0, 24)
side = st.integers(1, 12)
places = st.lists(st.tuples(edge, edge, side, side), max_size=6)
grids = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(3, 9))


def xyxy(places):
    """Turn (left, top, width, height) into edges."""
    rows = [(x, y, x + w, y + h) for x, y, w, h in places]
    return np.array(rows, np.float32).reshape(-1, 4)


@settings(max_examples=300, deadline=None)
@given(places, places, grids)
def test_properties(objects, regions, grid):
    boxes, ignore, (rows, columns, size) = xyxy(objects), xyxy(regions), grid
    priors = xyxy([(8 * column, 8 * row, size, size) for row in range(rows)
                   for column in range(columns)])  # fmt: skip
    matching = MatchingConfig()
    found = match_priors(priors, boxes, ignore, matching)
    ious = geometry.box_iou(priors, boxes)
    best = ious.max(axis=1, initial=0)

    assert found.shape == (len(priors),)
    assert found.min() >= LEFT_OUT
    assert found.max() < len(boxes)
    # Every object has a prior, or no free prior overlaps it.
    for index in range(len(boxes)):
        if index not in found:
            overlapping = ious[:, index] > 0
            assert (found[overlapping] >= 0).all()
    # An object is only answered for by what overlaps it.
    for prior in np.flatnonzero(found >= 0):
        assert ious[prior, found[prior]] > 0
    # What overlaps an object enough is positive; background overlaps none much.
    assert (found[best >= matching.positive_iou] >= 0).all()
    assert (best[found == BACKGROUND] < matching.negative_iou).all()
    # No negative lies in an ignore region; what is left out has a reason.
    inside = geometry.box_ioa(priors, ignore).max(axis=1, initial=0) >= matching.ignore_overlap
    assert (found[inside] != BACKGROUND).all()
    assert (inside | (best >= matching.negative_iou))[found == LEFT_OUT].all()


PRIORS = np.array([[0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0]], np.float32)


def test_targets_of_an_empty_image():
    found = encode_targets(EMPTY, LABELS, EMPTY, PRIORS, (0.1, 0.2), MatchingConfig())
    assert found.classes.tolist() == [0, 0]
    assert found.classes.dtype == np.int64
    np.testing.assert_array_equal(found.offsets, np.zeros((2, 4), np.float32))


def test_targets_of_an_ignore_region_alone():
    region = np.array([[0, 0, 0.5, 1]], np.float32)
    found = encode_targets(EMPTY, LABELS, region, PRIORS, (0.1, 0.2), MatchingConfig())
    assert found.classes.tolist() == [-1, 0]


def test_golden_targets():
    boxes = np.array([[0.55, 0.0, 1.0, 1.0]], np.float32)
    found = encode_targets(boxes, np.array([3]), EMPTY, PRIORS, (0.1, 0.2), MatchingConfig())
    assert found.classes.tolist() == [0, 4]
    golden = [[0, 0, 0, 0], [0.5, 0, np.log(0.9) / 0.2, 0]]
    np.testing.assert_allclose(found.offsets, golden, atol=1e-5)
    assert found.offsets.dtype == np.float32


def test_targets_decode_to_the_objects():
    generator = np.random.default_rng(5)
    priors = np.concatenate(
        (generator.uniform(0, 1, (200, 2)), generator.uniform(0.05, 0.4, (200, 2))), axis=1
    ).astype(np.float32)
    corner = generator.uniform(0, 0.7, (12, 2))
    boxes = np.concatenate((corner, corner + generator.uniform(0.02, 0.3, (12, 2))), axis=1)
    labels = generator.integers(0, 4, 12)
    found = encode_targets(
        boxes.astype(np.float32), labels, EMPTY, priors, (0.1, 0.2), MatchingConfig()
    )
    positive = found.classes > 0
    assert set(found.classes[positive] - 1) == set(labels)
    decoded = decode_boxes(found.offsets[positive], priors[positive], (0.1, 0.2))
    nearest = np.abs(decoded[:, None] - boxes).max(axis=2).argmin(axis=1)
    np.testing.assert_allclose(decoded, boxes[nearest], atol=1e-5)
    np.testing.assert_array_equal(labels[nearest], found.classes[positive] - 1)


# --- against all priors beside all boxes -----------------------------------------------------


def match_all_with_all(priors_xyxy, boxes, ignore, matching):
    """Match by comparing each prior with each box: what the blocks must not change."""
    found = np.full(len(priors_xyxy), BACKGROUND, np.int64)
    inside = geometry.box_ioa(priors_xyxy, ignore).max(axis=1, initial=0)
    found[inside >= matching.ignore_overlap] = LEFT_OUT
    if not len(boxes):
        return found if len(ignore) else np.full(len(priors_xyxy), BACKGROUND)
    ious = geometry.box_iou(priors_xyxy, boxes)
    best, best_iou = ious.argmax(axis=1), ious.max(axis=1, initial=0)
    if not len(ignore):
        found[:] = BACKGROUND
    found[best_iou >= matching.negative_iou] = LEFT_OUT
    found = np.where(best_iou >= matching.positive_iou, best, found)
    free = np.ones(len(priors_xyxy), bool)
    for index in np.argsort(-ious.max(axis=0, initial=0), kind='stable'):
        column = np.where(free, ious[:, index], -1.0)
        if len(column) and column.max() > 0:
            found[column.argmax()] = index
            free[column.argmax()] = False
    return found


thresholds = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.5, 0.9, 1.0])


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 200),
    st.integers(0, 12),
    st.integers(0, 5),
    st.sampled_from([0.0, 0.5, 0.125]),
    st.tuples(thresholds, thresholds, thresholds),
    st.sampled_from([np.float32, np.float64]),
    st.integers(0, 2**32),
)
def test_blocks_equal_plain_matching(
    num_priors, num_boxes, num_regions, grid, limits, dtype, seed
):
    generator = np.random.default_rng(seed)

    def some(num, smallest):
        """Draw boxes, some without area or inside out; on a grid many overlaps are equal."""
        low = generator.uniform(-0.1, 1.0, (num, 2))
        boxes = np.concatenate((low, low + generator.uniform(smallest, 0.5, (num, 2))), axis=1)
        return np.round(boxes / grid) * grid if grid else boxes

    priors = some(num_priors, 0.0).astype(np.float32)
    boxes, ignore = some(num_boxes, -0.05).astype(dtype), some(num_regions, -0.05).astype(dtype)
    matching = MatchingConfig(max(limits[:2]), min(limits[:2]), limits[2])
    expected = match_all_with_all(priors, boxes, ignore, matching)
    np.testing.assert_array_equal(match_priors(priors, boxes, ignore, matching), expected)


@pytest.mark.parametrize('num_boxes', [1, 150])
def test_blocks_equal_plain_matching_for_the_priors_of_a_network(num_boxes):
    spec = ModelSpec((300, 300), ('a',), original_feature_maps((300, 300)))
    priors = geometry.cxcywh_to_xyxy(generate_priors(spec))
    low = np.random.default_rng(1).uniform(0, 0.9, (num_boxes, 2))
    sides = np.random.default_rng(2).uniform(0.01, 0.3, (num_boxes, 2))
    boxes = np.concatenate((low, np.minimum(low + sides, 1)), axis=1).astype(np.float32)
    expected = match_all_with_all(priors, boxes, boxes[:5] / 2, MatchingConfig())
    np.testing.assert_array_equal(
        match_priors(priors, boxes, boxes[:5] / 2, MatchingConfig()), expected
    )
