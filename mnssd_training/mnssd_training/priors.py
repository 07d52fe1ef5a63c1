"""
Training boxes to prior sizes: k-means under IoU; and priors for inputs of other sizes.

Redmon and Farhadi, YOLO9000, CVPR 2017, section 2 (dimension clusters). Each level clusters the
boxes that suit its stride, so that small objects get many small priors on the finest grid.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
import math
from typing import Literal, Protocol

from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import feature_map, FeatureMap, ModelSpec, resize_transform
import numpy as np
from numpy.typing import NDArray

# A level answers for boxes of up to this many cells, by the root of the area.
CELLS = 4.0
ITERATIONS = 100
STRIDES = tuple(1 << halvings for halvings in range(1, 14))  # of any map of a network


class Boxed(Protocol):
    """What counts here of a sample; targets are made with this module, so that it knows none."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), pixels."""

    @property
    def boxes(self) -> NDArray[np.float32]:
        """``(N, 4)`` xyxy, pixels."""


def network_sizes(
    samples: Sequence[Boxed],
    input_size: tuple[int, int],
    resize: Literal['stretch', 'letterbox'] = 'stretch',
) -> NDArray[np.float64]:
    """
    Measure the training boxes in the network input.

    :param samples: the training set.
    :param input_size: (height, width) of the network input, pixels.
    :param resize: how images are brought to that size.
    :return: ``(N, 2)`` (width, height), pixels of the input.
    """
    plans = [resize_transform(sample.size, input_size, resize) for sample in samples]
    sizes = [
        (sample.boxes[:, 2:] - sample.boxes[:, :2])
        * (plan.content_size[1] / sample.size[1], plan.content_size[0] / sample.size[0])
        for sample, plan in zip(samples, plans)
    ]
    return np.concatenate([*sizes, np.zeros((0, 2))]).astype(np.float64)


def clustered_feature_maps(
    sizes: NDArray[np.float64],
    input_size: tuple[int, int],
    strides: Sequence[int],
    priors_per_cell: Sequence[int],
    seed: int,
) -> tuple[FeatureMap, ...]:
    """
    Lay out levels whose priors are clusters of the training boxes.

    A level that too few boxes suit gets square, lying and standing priors of three cells instead.

    :param sizes: ``(N, 2)`` (width, height) of the training boxes, pixels of the input.
    :param input_size: (height, width) of the network input, pixels.
    :param strides: of the levels, finest first.
    :param priors_a_cell: clusters of each level.
    :param seed: of the first guess.
    :return: the levels.
    """
    root_area = np.sqrt(sizes.prod(axis=1))
    limits = [0.0, *(stride * CELLS for stride in strides[:-1]), np.inf]
    levels = []
    for stride, num, low, high in zip(strides, priors_per_cell, limits, limits[1:]):
        own = sizes[(root_area >= low) & (root_area < high)]
        if len(own) >= 10 * num:
            clusters = cluster_sizes(own, num, np.random.default_rng(seed))
        else:
            side, ratios = 3.0 * stride, np.array((1.0, 2.0, 0.5, 3.0, 1 / 3))
            root = np.sqrt(np.resize(ratios, num))
            clusters = np.stack((side * root, side / root), axis=1)
        rounded = tuple((round(float(w), 2), round(float(h), 2)) for w, h in clusters)
        levels.append(feature_map(input_size, stride, rounded))
    return tuple(levels)


def cluster_sizes(
    sizes: NDArray[np.float64], num: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """
    Cluster box sizes by the IoU of boxes with a common centre.

    :param sizes: ``(N, 2)`` (width, height), N at least ``num``.
    :param num: of clusters.
    :param generator: of the first guess.
    :return: ``(num, 2)`` medians of the clusters, smallest first.
    """
    centres = sizes[generator.choice(len(sizes), num, replace=False)]
    for _ in range(ITERATIONS):
        owner = _centred_iou(sizes, centres).argmax(axis=1)
        moved = np.array(
            [
                np.median(sizes[owner == index], axis=0) if (owner == index).any() else centre
                for index, centre in enumerate(centres)
            ]
        )
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres[np.argsort(centres.prod(axis=1))]


def best_possible_recall(
    sizes: NDArray[np.float64], levels: Sequence[FeatureMap], iou: float = 0.5
) -> float:
    """
    Tell what part of the boxes a prior of the right place could match.

    :param sizes: ``(N, 2)`` (width, height), pixels of the input.
    :param levels: the levels of priors.
    :param iou: from which a match counts.
    :return: in [0, 1]; 1 for no boxes.
    """
    if not len(sizes):
        return 1.0
    priors = np.array([size for level in levels for size in level.sizes])
    return float((_centred_iou(sizes, priors).max(axis=1) >= iou).mean())


@lru_cache(maxsize=64)
def spec_at(spec: ModelSpec, size: tuple[int, int]) -> ModelSpec:
    """
    Lay the priors of a model out over an input of another size.

    Strides and prior sizes stay what they are in pixels, so that the same weights fit; only the
    grids grow or shrink as the feature maps of the network do.

    :param spec: the model.
    :param size: (height, width) of the other input, pixels.
    :return: the same model for that input; ``spec`` itself for its own size.
    """
    if size == spec.input_size:
        return spec
    levels = tuple(_level_at(level, spec.input_size, size) for level in spec.feature_maps)
    return replace(spec, input_size=size, feature_maps=levels)


def _level_at(level: FeatureMap, own: tuple[int, int], size: tuple[int, int]) -> FeatureMap:
    """
    Lay one level out over an input of another size.

    The grid is that of a network that halves its input over and over, rounding up, whatever the
    distance is at which the centres of its priors lie: that may be 224 pixels on a map of stride
    256, or an even share of the input, which then stays an even share.
    """
    halved = [step for step in STRIDES if _grid(own, (step, step)) == level.shape]
    nearest = min(halved, key=lambda step: abs(step - level.stride[0]), default=None)
    shape = _grid(size, (nearest, nearest) if nearest else level.stride)
    is_even = level.stride == (own[0] / level.shape[0], own[1] / level.shape[1])
    if is_even and level.stride != (nearest, nearest):
        return FeatureMap(shape, (size[0] / shape[0], size[1] / shape[1]), level.sizes)
    return FeatureMap(shape, level.stride, level.sizes)


def _grid(size: tuple[int, int], stride: tuple[float, float]) -> tuple[int, int]:
    """Count the (rows, columns) of cells that cover an input."""
    return math.ceil(size[0] / stride[0]), math.ceil(size[1] / stride[1])


def _centred_iou(sizes: NDArray[np.float64], others: NDArray[np.float64]) -> boxes_of.Boxes:
    """Compare boxes that share their centre, ``(N, M)``."""
    return boxes_of.box_iou(
        np.concatenate((-sizes, sizes), axis=1), np.concatenate((-others, others), axis=1)
    )
