"""
Training boxes to prior sizes: k-means under IoU.

Redmon and Farhadi, YOLO9000, CVPR 2017, section 2 (dimension clusters). Each level clusters the
boxes that suit its stride, so that small objects get many small priors on the finest grid.
"""

from collections.abc import Sequence
from typing import Literal

from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import feature_map, FeatureMap, resizing
from mnssd_training.data.sample import Sample
import numpy as np
from numpy.typing import NDArray

__all__ = ['best_possible_recall', 'cluster_sizes', 'clustered_feature_maps', 'network_sizes']

# A level answers for boxes of up to this many cells, by the root of the area.
CELLS = 4.0
ITERATIONS = 100


def network_sizes(
    samples: Sequence[Sample],
    input_size: tuple[int, int],
    resize: Literal['stretch', 'letterbox'] = 'stretch',
) -> NDArray[np.float64]:
    """
    Measure the training boxes in the network input.

    :param samples: the training set.
    :param input_size: (height, width) of the network input, pixels.
    :param resize: how photographs are brought to that size.
    :return: ``(N, 2)`` (width, height), pixels of the input.
    """
    plans = [resizing(sample.size, input_size, resize) for sample in samples]
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
    priors_a_cell: Sequence[int],
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
    for stride, num, low, high in zip(strides, priors_a_cell, limits, limits[1:]):
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


def _centred_iou(sizes: NDArray[np.float64], others: NDArray[np.float64]) -> boxes_of.Boxes:
    """Compare boxes that share their centre, ``(N, M)``."""
    return boxes_of.iou(
        np.concatenate((-sizes, sizes), axis=1), np.concatenate((-others, others), axis=1)
    )
