"""Assignment of priors: ATSS against plain loops, and what every method leaves out."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.ssd import boxes as box_ops
from mnssd_perception.ssd import (
    encode_targets,
    feature_map,
    generate_priors,
    match_priors,
    ModelSpec,
)
from mnssd_training.config import AssignmentConfig
from mnssd_training.data.assignment import (
    assign_priors,
    closest_priors,
    find_candidates,
    make_targets,
)
from mnssd_training.data.transforms import NetworkSample
from mnssd_training.priors import resize_spec
import numpy as np
from numpy.typing import NDArray
import pytest

NONE = np.zeros((0, 4), np.float32)
BACKGROUND, LEFT_OUT = -1, -2
SIDE = 40
GRID = ModelSpec((SIDE, SIDE), ('a', 'b'), (feature_map((SIDE, SIDE), 10, ((10.0, 10.0),)),))


def assigned(
    boxes: Any, ignore: Any = (), spec: ModelSpec = GRID, method: Any = 'atss', **keys: Any
) -> NDArray[np.int64]:
    """Assign the priors of a network input to boxes in its pixels."""
    height, width = spec.input_size
    scale = np.array((width, height, width, height))
    boxes, ignore = ((np.array(b).reshape(-1, 4) / scale) for b in (boxes, ignore))
    matching = AssignmentConfig(method=method, **keys)
    return assign_priors(boxes.astype(np.float32), ignore.astype(np.float32), spec, matching)


@pytest.mark.parametrize('method', ['iou', 'atss', 'tal'])
def test_an_image_without_objects_is_background(method: str) -> None:
    assert (assigned([], method=method) == BACKGROUND).all()
    matches = assigned([], [[0, 0, 20, 10]], method=method)
    assert np.flatnonzero(matches == LEFT_OUT).tolist() == [0, 1]
    sample = NetworkSample(np.zeros((SIDE, SIDE, 3), np.uint8), NONE, np.zeros(0, np.int64), NONE)
    targets = make_targets(sample, GRID, AssignmentConfig(method=method))
    assert not targets.classes.any()
    assert not targets.offsets.any()
    assert closest_priors(NONE, GRID, 9).shape == (0, 9)


def test_iou_targets_are_those_of_perception(spec: ModelSpec) -> None:
    generator = np.random.default_rng(3)
    low = generator.uniform(0, 0.8, (20, 2))
    boxes = np.concatenate((low, low + generator.uniform(0.02, 0.2, (20, 2))), 1)
    boxes, labels = boxes.astype(np.float32), generator.integers(0, 4, 20)
    sample = NetworkSample(np.zeros((96, 120, 3), np.uint8), boxes, labels, boxes[:2] / 2)
    config = AssignmentConfig(0.45, 0.35)
    expected = encode_targets(
        boxes, labels, sample.ignore, generate_priors(spec), spec.variances, config
    )
    actual = make_targets(sample, spec, config)
    np.testing.assert_array_equal(actual.classes, expected.classes)
    np.testing.assert_array_equal(actual.offsets, expected.offsets)


def test_atss_golden_case() -> None:
    """
    Priors of 10 x 10 around an object of 14 x 14 in the middle of cell (1, 1).

    Its nine candidates have IoUs of 100 / 196, four times 20 / 276 and four times 4 / 292; their
    mean and deviation, 0.095 and 0.160, make a threshold that only the first passes.
    """
    matches = assigned([[8, 8, 22, 22]])
    assert np.flatnonzero(matches >= 0).tolist() == [5]
    assert (matches[np.arange(16) != 5] == BACKGROUND).all()


def test_atss_threshold_admits_several_priors_of_a_wide_object() -> None:
    """Two of nine candidates have an IoU of 100 / 200: mean and deviation are 0.111 and 0.220."""
    spec = ModelSpec((10, 90), ('a',), (feature_map((10, 90), 10, ((10.0, 10.0),)),))
    assert np.flatnonzero(assigned([[10, 0, 30, 10]], spec=spec) == 0).tolist() == [1, 2]


def test_prior_of_two_objects_goes_to_the_higher_iou() -> None:
    assert assigned([[8, 8, 24, 24], [9, 9, 21, 21]])[5] == 1
    assert assigned([[9, 9, 21, 21], [8, 8, 24, 24]])[5] == 0


def test_an_object_that_contains_no_centre_gets_its_best_prior() -> None:
    assert np.flatnonzero(assigned([[1, 1, 3, 3]]) == 0).tolist() == [0]
    # Twins get a prior each, although both fit the same one best; nothing else overlaps a third.
    matches = assigned([[9, 2, 11, 4], [9, 2, 11, 4], [9, 2, 11, 4]])
    assert sorted(matches[matches >= 0].tolist()) == [0, 1]
    assert np.flatnonzero(matches >= 0).tolist() == [0, 1]


def test_priors_of_objects_are_not_left_out_in_ignore_regions() -> None:
    matches = assigned([[8, 8, 22, 22]], [[0, 0, SIDE, SIDE]])
    assert matches[5] == 0
    assert (matches[np.arange(16) != 5] == LEFT_OUT).all()


def closest_by_loops(box: Any, spec: ModelSpec, num_cells: int) -> list[int]:
    """List the priors of the closest cells by sorting all cells of each level."""
    height, width = spec.input_size
    priors, start, closest = generate_priors(spec), 0, []
    x, y = (box[:2] + box[2:]) / 2 * (width, height)
    for level in spec.feature_maps:
        per_cell, end = len(level.sizes), start + level.num_priors
        centres = priors[start:end:per_cell, :2].astype(np.float64)
        distance = [(cy * height - y) ** 2 + (cx * width - x) ** 2 for cx, cy in centres]
        for cell in np.argsort(distance, kind='stable')[:num_cells]:
            closest += [start + int(cell) * per_cell + size for size in range(per_cell)]
        start = end
    return closest


def atss_by_loops(boxes: Any, spec: ModelSpec, num_cells: int) -> dict[int, int]:
    """Map positive priors to objects as the paper does: without the step for lonely objects."""
    edges = box_ops.cxcywh_to_xyxy(generate_priors(spec))
    claims: dict[int, tuple[float, int]] = {}
    for index, box in enumerate(boxes):
        candidates = closest_by_loops(box, spec, num_cells)
        ious = box_ops.box_iou(edges[candidates], box[None])[:, 0]
        threshold = ious.mean() + (ious.std(ddof=1) if len(ious) > 1 else 0)
        for prior, iou in zip(candidates, ious):
            centre = (edges[prior, :2] + edges[prior, 2:]) / 2
            is_inside = (centre > box[:2]).all() and (centre < box[2:]).all()
            if iou >= threshold and is_inside and (-iou, index) < claims.get(prior, (0, 0)):
                claims[prior] = (-iou, index)
    return {prior: index for prior, (_, index) in claims.items()}


sides = st.integers(3, 60)
levels = st.lists(
    st.tuples(st.sampled_from([4, 8, 9, 16, 32]), st.integers(1, 3)), min_size=1, max_size=3
)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(sides, sides),
    levels=levels,
    num_boxes=st.integers(1, 12),
    num_cells=st.integers(1, 12),
    grid=st.sampled_from([0.0, 0.125]),
    seed=st.integers(0, 2**32),
)
def test_atss_equals_plain_loops(
    size: tuple[int, int],
    levels: list[tuple[int, int]],
    num_boxes: int,
    num_cells: int,
    grid: float,
    seed: int,
) -> None:
    generator = np.random.default_rng(seed)
    maps = tuple(
        feature_map(size, stride, tuple(map(tuple, generator.uniform(2, 40, (num, 2)).tolist())))
        for stride, num in levels
    )
    spec = ModelSpec(size, ('a',), maps)
    low = generator.uniform(0, 0.9, (num_boxes, 2))
    boxes = np.concatenate((low, low + generator.uniform(0.02, 0.5, (num_boxes, 2))), axis=1)
    boxes = boxes.clip(0, 1).astype(np.float32)
    if grid:  # many equal distances and IoUs
        boxes[:, :2] = np.floor(boxes[:, :2] / grid) * grid
        boxes[:, 2:] = np.floor(boxes[:, 2:] / grid + 1) * grid
    config = AssignmentConfig(method='atss', atss_candidates=num_cells)
    closest = closest_priors(boxes, spec, num_cells)
    for row, box in zip(closest, boxes, strict=True):
        assert row.tolist() == closest_by_loops(box, spec, num_cells)
    matches = assign_priors(boxes, NONE, spec, config)
    expected = atss_by_loops(boxes, spec, num_cells)
    lonely = set(range(num_boxes)) - set(expected.values())
    num = np.bincount(matches[matches >= 0], minlength=num_boxes)
    # Only lonely objects differ: they take one prior each, and none the last one of another.
    for prior, index in expected.items():
        assert matches[prior] == index or matches[prior] in lonely
    for prior in np.flatnonzero(matches >= 0):
        assert matches[prior] in lonely or expected[prior] == matches[prior]
    assert all(num[index] for index in set(expected.values()))
    edges = box_ops.cxcywh_to_xyxy(generate_priors(spec))
    for index in lonely:
        assert num[index] <= 1
        if not num[index]:
            ious = box_ops.box_iou(edges[closest[index]], boxes[index][None])[:, 0]
            owners = matches[closest[index][ious > 0]]
            assert (num[owners] == 1).all()
            assert (owners >= 0).all()


def test_candidates_of_task_alignment_lie_in_the_object() -> None:
    assert find_candidates(NONE, GRID, 4).shape == (0, 4)
    boxes = np.array([[4, 4, 16, 26], [0, 0, SIDE, SIDE], [1, 1, 3, 3]], np.float32) / SIDE
    rows = [set(row[row >= 0].tolist()) for row in find_candidates(boxes, GRID, 9)]
    assert rows[0] == {0, 1, 4, 5, 8, 9}
    assert len(rows[1]) == 9
    assert rows[2] == {0}  # it contains no centre; this one overlaps it
    everything = AssignmentConfig(method='tal')
    assert (assign_priors(boxes, NONE, GRID, everything) == BACKGROUND).all()


def test_atss_follows_the_size_of_a_training_input(spec: ModelSpec) -> None:
    boxes = np.array([[0.2, 0.2, 0.5, 0.6]], np.float32)
    other = resize_spec(spec, (64, 96))
    matches = assign_priors(boxes, NONE, other, AssignmentConfig(method='atss'))
    assert matches.shape == (other.num_priors,)
    assert (matches >= 0).any()


def test_methods_share_the_rule_of_ignore_regions(spec: ModelSpec) -> None:
    region = np.array([[0.5, 0.5, 1.0, 1.0]], np.float32)
    edges = box_ops.cxcywh_to_xyxy(generate_priors(spec))
    config = AssignmentConfig(ignore_overlap=0.9)
    expected = match_priors(edges, NONE, region, config)
    assert (expected == LEFT_OUT).any()
    for method in ('iou', 'atss', 'tal'):
        actual = assign_priors(
            NONE, region, spec, AssignmentConfig(ignore_overlap=0.9, method=method)
        )
        np.testing.assert_array_equal(actual, expected)
