"""Fit of priors to boxes, in known cases and against a comparison of all pairs."""

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import generate_priors, ModelSpec
from mnssd_training.data import Sample
from mnssd_training.inspection.anchor_plots import (
    draw_level_priors,
    draw_matched_priors,
    plot_sizes,
)
from mnssd_training.inspection.anchors import (
    best_centred_iou,
    boxes_in_network,
    cluster_curve,
    match_grid,
    suggest_priors_per_cell,
    summarize_fit,
)
import numpy as np
import pytest

NAMES = ('Person', 'Car', 'Bicycle', 'OtherVehicle')
NOTHING = np.zeros((0, 4))


def test_no_boxes(spec: ModelSpec) -> None:
    assert boxes_in_network([], spec)[0].shape == (0, 4)
    assert match_grid(NOTHING, spec).iou_by_level.shape == (0, 3)
    assert summarize_fit(match_grid(NOTHING, spec).iou).recall == (1.0,) * 4
    assert cluster_curve(np.zeros((0, 2)), 5, 0) == []
    assert suggest_priors_per_cell(np.zeros((0, 2)), (8, 16), 5, 0) == (2, 2)
    labels = np.zeros(0, np.int64)
    assert plot_sizes(np.zeros((0, 2)), labels, NAMES, spec.feature_maps).dtype == np.uint8


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), num=st.integers(1, 20))
def test_grid_matches_equal_the_best_of_all_pairs(spec: ModelSpec, seed: int, num: int) -> None:
    generator = np.random.default_rng(seed)
    centres, halves = generator.uniform(0, 120, (num, 2)), generator.uniform(0.5, 40, (num, 2))
    boxes = np.clip(np.concatenate((centres - halves, centres + halves), axis=1), 0, 96)
    match = match_grid(boxes, spec)
    edges = boxes_of.cxcywh_to_xyxy(generate_priors(spec)) * np.array((120, 96, 120, 96))
    ious = boxes_of.box_iou(boxes, edges)
    assert np.allclose(match.iou, ious.max(axis=1), atol=1e-5)
    assert np.allclose(ious[np.arange(num), match.prior], match.iou, atol=1e-5)
    assert np.array_equal(match.iou_by_level.max(axis=1), match.iou)
    rows = np.arange(num)
    assert np.array_equal(match.iou_by_level[rows, match.level], match.iou)


def test_priors_on_the_grid_never_fit_better_than_centred_ones(
    spec: ModelSpec, train_samples: list[Sample]
) -> None:
    boxes, _ = boxes_in_network(train_samples, spec)
    inside = (boxes[:, :2] > 30).all(axis=1) & (boxes[:, 2:] < (90, 66)).all(axis=1)
    sizes = boxes[inside, 2:] - boxes[inside, :2]
    priors = np.array([size for level in spec.feature_maps for size in level.sizes])
    assert inside.any()
    assert (match_grid(boxes[inside], spec).iou <= best_centred_iou(sizes, priors) + 1e-6).all()


def test_as_many_clusters_as_sizes_fit_perfectly() -> None:
    sizes = np.repeat([(10.0, 20.0), (40.0, 10.0), (90.0, 90.0)], 20, axis=0)
    curve = cluster_curve(sizes, 3, 0)
    assert curve[0].mean_iou < 0.7
    assert curve[2].mean_iou == pytest.approx(1.0)
    assert curve[2].recall == (1.0,) * 4


def test_more_priors_are_suggested_where_shapes_differ_more() -> None:
    generator = np.random.default_rng(0)
    alike = np.tile((10.0, 20.0), (200, 1)) * generator.uniform(0.99, 1.01, (200, 2))
    varied = np.exp(generator.uniform(np.log(20), np.log(200), (400, 2)))
    varied = varied[np.sqrt(varied.prod(axis=1)) >= 32]
    few, many = suggest_priors_per_cell(np.concatenate((alike, varied)), (8, 16), 8, 0)
    assert few == 2
    assert many > 3


def test_drawings(spec: ModelSpec, train_samples: list[Sample]) -> None:
    boxes, labels = boxes_in_network(train_samples, spec)
    sizes = boxes[:, 2:] - boxes[:, :2]
    plot = plot_sizes(sizes, labels, NAMES, spec.feature_maps)
    assert len(np.unique(plot.reshape(-1, 3), axis=0)) > 5
    assert len(draw_level_priors(spec, 200)) == 3
    tile = draw_matched_priors(train_samples[0], spec, 240)
    assert tile.image.shape == (192, 240, 3)
