"""
Make the priors of an experiment: published ones, or clusters of the training boxes.

Redmon and Farhadi, YOLO9000, CVPR 2017, section 2 (dimension clusters). Each level clusters the
boxes that suit its stride, so that small objects get many small priors on the finest grid.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
import math
from typing import Literal, Protocol

from mnssd_perception.ssd import boxes as box_ops
from mnssd_perception.ssd import (
    feature_map,
    FeatureMap,
    finetune_feature_maps,
    ModelSpec,
    original_feature_maps,
    resize_transform,
    ssdlite_feature_maps,
)
from mnssd_training.config import Experiment, InputConfig, PriorsConfig
import numpy as np
from numpy.typing import NDArray

PUBLISHED_LAYOUTS = {
    'original': original_feature_maps,
    'finetune': finetune_feature_maps,
    'ssdlite': ssdlite_feature_maps,
}
MAX_CELLS = 4.0  # square root of the area of a level's largest boxes, in cells
MIN_BOXES_PER_CLUSTER = 10
ITERATIONS = 100
STRIDES = tuple(2**halvings for halvings in range(1, 14))  # of any map of a network


class AnnotatedImage(Protocol):
    """The part of a sample that priors depend on; ``data`` imports this module, not vice versa."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), pixels."""

    @property
    def boxes(self) -> NDArray[np.floating]:
        """``(N, 4)`` xyxy, pixels."""


def make_spec(
    experiment: Experiment, samples: Sequence[AnnotatedImage], class_names: Sequence[str]
) -> ModelSpec:
    """
    Make the model specification of an experiment.

    :param samples: the training set, whose boxes are clustered.
    """
    settings = experiment.input
    sizes = measure_box_sizes(samples, settings.size, settings.resize)
    levels = make_feature_maps(experiment.priors, settings, sizes, experiment.training.seed)
    variances = experiment.priors.variances
    return ModelSpec(
        settings.size, tuple(class_names), levels, settings.resize, variances=variances
    )


def make_feature_maps(
    priors: PriorsConfig, settings: InputConfig, box_sizes: NDArray[np.float64], seed: int
) -> tuple[FeatureMap, ...]:
    """Make the levels of priors; see :func:`clustered_feature_maps`; ``priors.seed`` wins."""
    if priors.layout == 'clustered':
        return clustered_feature_maps(
            box_sizes,
            settings.size,
            priors.strides,
            priors.priors_per_cell,
            seed if priors.seed is None else priors.seed,
        )
    return PUBLISHED_LAYOUTS[priors.layout](settings.size)


def measure_box_sizes(
    samples: Sequence[AnnotatedImage],
    input_size: tuple[int, int],
    resize: Literal['stretch', 'letterbox'] = 'stretch',
) -> NDArray[np.float64]:
    """Measure boxes in a network input (height, width): ``(N, 2)`` (width, height), pixels."""
    sizes: list[NDArray[np.floating]] = [np.zeros((0, 2))]
    for sample in samples:
        height, width = resize_transform(sample.size, input_size, resize).content_size
        scale = (width / sample.size[1], height / sample.size[0])
        sizes.append((sample.boxes[:, 2:] - sample.boxes[:, :2]) * scale)
    return np.concatenate(sizes).astype(np.float64)


def clustered_feature_maps(
    sizes: NDArray[np.float64],
    input_size: tuple[int, int],
    strides: Sequence[int],
    priors_per_cell: Sequence[int],
    seed: int,
) -> tuple[FeatureMap, ...]:
    """
    Make levels whose priors are clusters of the training boxes.

    A level with too few boxes of its size gets square, wide and tall priors of three cells.

    :param sizes: ``(N, 2)`` (width, height) of the training boxes, pixels of the input.
    :param strides: of the levels, finest first; so are the clusters per level.
    :param seed: of the initial cluster centres.
    """
    levels = []
    split_sizes = split_by_level(sizes, strides)
    for stride, num, level_sizes in zip(strides, priors_per_cell, split_sizes):
        if len(level_sizes) >= MIN_BOXES_PER_CLUSTER * num:
            clusters = cluster_sizes(level_sizes, num, np.random.default_rng(seed))
        else:
            side, ratios = 3.0 * stride, np.array((1.0, 2.0, 0.5, 3.0, 1 / 3))
            root = np.sqrt(np.resize(ratios, num))
            clusters = np.stack((side * root, side / root), axis=1)
        rounded = tuple((round(float(w), 2), round(float(h), 2)) for w, h in clusters)
        levels.append(feature_map(input_size, stride, rounded))
    return tuple(levels)


def split_by_level(
    sizes: NDArray[np.float64], strides: Sequence[int]
) -> Iterator[NDArray[np.float64]]:
    """Yield the box sizes ``(N, 2)`` that each level detects, in the order of the strides."""
    root_area = np.sqrt(sizes.prod(axis=1))
    limits = [0.0, *(stride * MAX_CELLS for stride in strides[:-1]), np.inf]
    for low, high in pairwise(limits):
        yield sizes[(root_area >= low) & (root_area < high)]


def cluster_sizes(
    sizes: NDArray[np.float64], num: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """
    Cluster box sizes by k-means under the IoU of boxes with a common centre.

    :param sizes: ``(N, 2)`` (width, height), N at least ``num``.
    :return: ``(num, 2)`` medians of the clusters, smallest area first.
    """
    centres = sizes[generator.choice(len(sizes), num, replace=False)]
    corners = np.concatenate((-sizes, sizes), axis=1)
    for _ in range(ITERATIONS):
        ious = box_ops.box_iou(corners, np.concatenate((-centres, centres), axis=1))
        nearest, updated = ious.argmax(axis=1), centres.copy()
        for index in np.unique(nearest):
            updated[index] = np.median(sizes[nearest == index], axis=0)
        if np.array_equal(updated, centres):
            break
        centres = updated
    return centres[np.argsort(centres.prod(axis=1))]


@lru_cache(maxsize=64)
def resize_spec(spec: ModelSpec, size: tuple[int, int]) -> ModelSpec:
    """
    Adapt a model specification to another input size, (height, width) in pixels.

    Strides and prior sizes stay the same in pixels, so that the same weights fit; only the grids
    grow or shrink, as the feature maps of the network do. Returns ``spec`` itself for its own
    size.
    """
    if size == spec.input_size:
        return spec
    height, width = spec.input_size
    levels = []
    for level in spec.feature_maps:
        # The grid is that of a network that halves its input repeatedly, rounding up, whatever the
        # distance between the centres of its priors is: that may be 224 pixels on a map of stride
        # 256, or an even share of the input, which then stays an even share.
        stride = level.stride
        matching = [
            step for step in STRIDES if _grid((height, width), (step, step)) == level.shape
        ]
        nearest = min(matching, key=lambda step: abs(step - stride[0]), default=None)
        shape = _grid(size, (nearest, nearest) if nearest else stride)
        is_even = stride == (height / level.shape[0], width / level.shape[1])
        if is_even and stride != (nearest, nearest):
            stride = (size[0] / shape[0], size[1] / shape[1])
        levels.append(FeatureMap(shape, stride, level.sizes))
    return replace(spec, input_size=size, feature_maps=tuple(levels))


def _grid(size: tuple[int, int], stride: tuple[float, float]) -> tuple[int, int]:
    """Return the (rows, columns) of cells that cover an input."""
    return math.ceil(size[0] / stride[0]), math.ceil(size[1] / stride[1])
