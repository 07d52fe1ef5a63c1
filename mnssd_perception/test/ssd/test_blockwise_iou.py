"""Blockwise overlaps against those of all pairs."""

from mnssd_perception.ssd.blockwise_iou import BLOCK_SIZE, blockwise_ioa, blockwise_iou
from mnssd_perception.ssd.boxes import box_ioa, box_iou
import numpy as np
import pytest


def random_boxes(generator, num, extent):
    corners = generator.uniform(0, extent, (num, 2))
    return np.concatenate((corners, corners + generator.uniform(1, 30, (num, 2))), axis=1)


@pytest.mark.parametrize('num_boxes', [0, 1, 7, 40])
@pytest.mark.parametrize('num_priors', [1, BLOCK_SIZE - 1, BLOCK_SIZE, 5 * BLOCK_SIZE + 3])
@pytest.mark.parametrize(
    ('blockwise', 'pairwise'), [(blockwise_iou, box_iou), (blockwise_ioa, box_ioa)]
)
@pytest.mark.parametrize('extent', [50, 2000])
def test_best_boxes_are_those_of_all_pairs(num_priors, num_boxes, blockwise, pairwise, extent):
    generator = np.random.default_rng(num_priors + num_boxes)
    priors = random_boxes(generator, num_priors, extent)
    boxes = random_boxes(generator, num_boxes, extent)
    overlaps = blockwise(priors, boxes)
    values, best = overlaps.best_boxes()
    expected = pairwise(priors, boxes)
    assert values.shape == best.shape == (num_priors,)
    np.testing.assert_allclose(values, expected.max(axis=1, initial=0))
    if num_boxes:
        np.testing.assert_array_equal(best, expected.argmax(axis=1))


def test_only_blocks_that_meet_a_box_are_compared():
    # Blocks 0 and 2 are far from all boxes; block 1 touches two of them at an edge only.
    left = np.repeat([500.0, 0.0, 700.0], BLOCK_SIZE)[:, None]
    priors = left + np.array([0.0, 0.0, 10.0, 10.0])
    boxes = np.array([[5.0, 5.0, 9.0, 9.0], [10.0, 0.0, 20.0, 10.0], [-9.0, 0.0, 0.0, 10.0]])
    overlaps = blockwise_iou(priors, boxes)
    assert overlaps.num_priors == 3 * BLOCK_SIZE
    assert list(zip(overlaps.block, overlaps.box)) == [(1, 0)]
    values, best = overlaps.best_boxes()
    assert np.flatnonzero(values).tolist() == list(range(BLOCK_SIZE, 2 * BLOCK_SIZE))
    assert not best.any()


def test_equal_overlaps_take_the_first_box():
    prior = np.array([[0.0, 0.0, 10.0, 10.0]])
    boxes = np.array([[20.0, 20.0, 30.0, 30.0], [5.0, 0.0, 15.0, 10.0], [0.0, 5.0, 10.0, 15.0]])
    values, best = blockwise_iou(prior, boxes).best_boxes()
    assert (values.tolist(), best.tolist()) == ([pytest.approx(1 / 3)], [1])
