"""Training boxes to how well priors fit them: by shape alone, and where the grid puts them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import FeatureMap, generate_priors, ModelSpec, resize_transform
from mnssd_training.data.sample import Sample
from mnssd_training.priors import cluster_sizes
import numpy as np
from numpy.typing import NDArray

IOUS = (0.4, 0.5, 0.6, 0.7)  # at which recall is told
ENOUGH = 0.02  # mean IoU that one more prior a cell must gain
STARTS = 3  # of k-means, which finds a local optimum; the best one counts
BLOCK = 256  # boxes that are compared with all priors at a time
LEVEL_CELLS = 4.0  # a level answers for boxes of up to this many cells, as clusters are made


@dataclass(frozen=True)
class Fit:
    """
    How well priors fit some boxes.

    :ivar num_boxes: that were compared.
    :ivar mean_iou: with the best prior of each.
    :ivar recall: part of the boxes with a prior at each of :data:`IOUS`.
    """

    num_boxes: int
    mean_iou: float
    recall: tuple[float, ...]


@dataclass(frozen=True)
class GridFit:
    """
    How well priors fit boxes where the grid puts them.

    :ivar best: ``(N,)`` IoU of each box with its best prior.
    :ivar level: ``(N,)`` level of that prior.
    :ivar prior: ``(N,)`` that prior.
    :ivar by_level: ``(N, levels)`` IoU with the best prior of each level.
    """

    best: NDArray[np.float64]
    level: NDArray[np.int64]
    prior: NDArray[np.int64]
    by_level: NDArray[np.float64]


def shown_boxes(
    samples: Sequence[Sample], spec: ModelSpec
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """
    Bring the boxes of samples to the network input.

    :param samples: the training set.
    :param spec: the model.
    :return: ``(N, 4)`` xyxy, pixels of the input; ``(N,)`` labels.
    """
    height, width = spec.input_size
    scale = np.array((width, height) * 2, np.float64)
    boxes = [
        resize_transform(sample.size, spec.input_size, spec.resize).to_input(sample.boxes) * scale
        for sample in samples
    ]
    labels = [sample.labels for sample in samples]
    return (
        np.concatenate([*boxes, np.zeros((0, 4))]),
        np.concatenate([*labels, np.zeros(0, np.int64)]),
    )


def measure_fit(best: NDArray[np.float64]) -> Fit:
    """
    Sum up how well priors fit.

    :param best: ``(N,)`` IoU of each box with its best prior.
    :return: the figures; those of no boxes are 1.
    """
    if not len(best):
        return Fit(0, 1.0, tuple(1.0 for _ in IOUS))
    recall = tuple(float((best >= iou).mean()) for iou in IOUS)
    return Fit(len(best), float(best.mean()), recall)


def centred_fit(sizes: NDArray[np.float64], priors: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Compare boxes with priors that have the same centre: the best that any grid could do.

    :param sizes: ``(N, 2)`` (width, height) of boxes.
    :param priors: ``(K, 2)`` of priors, same unit.
    :return: ``(N,)`` IoU of each box with its best prior.
    """
    ious = boxes_of.box_iou(
        np.concatenate((-sizes, sizes), axis=1), np.concatenate((-priors, priors), axis=1)
    )
    return ious.max(axis=1, initial=0)


def grid_fit(boxes: NDArray[np.float64], spec: ModelSpec) -> GridFit:
    """
    Compare boxes with all priors, where they are.

    :param boxes: ``(N, 4)`` xyxy, pixels of the network input.
    :param spec: the model.
    :return: the best prior of each box.
    """
    height, width = spec.input_size
    edges = boxes_of.cxcywh_to_xyxy(generate_priors(spec)) * np.array(
        (width, height) * 2, np.float32
    )
    ends = np.cumsum([level.num_priors for level in spec.feature_maps])
    starts = ends - [level.num_priors for level in spec.feature_maps]
    by_level = np.zeros((len(boxes), len(ends)))
    prior = np.zeros(len(boxes), np.int64)
    for first in range(0, len(boxes), BLOCK):
        rows = slice(first, first + BLOCK)
        ious = boxes_of.box_iou(boxes[rows].astype(np.float32), edges)
        prior[rows] = ious.argmax(axis=1)
        by_level[rows] = np.maximum.reduceat(ious, starts, axis=1)
    level = np.searchsorted(ends, prior, side='right')
    return GridFit(by_level.max(axis=1, initial=0), level, prior, by_level)


def cluster_curve(sizes: NDArray[np.float64], largest: int, seed: int) -> list[Fit]:
    """
    Cluster box sizes into 1, 2, 3, ... sizes of priors.

    :param sizes: ``(N, 2)`` (width, height) of boxes.
    :param largest: number of clusters.
    :param seed: of the first guess.
    :return: how well each number of clusters fits, from 1 on; fewer where there are few boxes.
    """
    curve = []
    for num in range(1, min(largest, len(sizes)) + 1):
        clusters = (
            cluster_sizes(sizes, num, np.random.default_rng(seed + start))
            for start in range(STARTS)
        )
        fits = (measure_fit(centred_fit(sizes, one)) for one in clusters)
        curve.append(max(fits, key=lambda fit: fit.mean_iou))
    return curve


def suggest_priors_per_cell(
    sizes: NDArray[np.float64], strides: Sequence[int], largest: int, seed: int
) -> tuple[int, ...]:
    """
    Choose how many priors a cell of each level has: more, as long as each of them gains enough.

    :param sizes: ``(N, 2)`` (width, height) of boxes, pixels of the network input.
    :param strides: of the levels, finest first.
    :param largest: number of priors a cell.
    :param seed: of the first guess of clusters.
    :return: priors a cell; at least two, so that lying and standing objects both have one.
    """
    root = np.sqrt(sizes.prod(axis=1))
    limits = [0.0, *(stride * LEVEL_CELLS for stride in strides[:-1]), np.inf]
    chosen = []
    for low, high in pairwise(limits):
        curve = cluster_curve(sizes[(root >= low) & (root < high)], largest, seed)
        num = 2
        while num < len(curve) and curve[num].mean_iou - curve[num - 1].mean_iou >= ENOUGH:
            num += 1
        chosen.append(num)
    return tuple(chosen)


def sizes_of(levels: Sequence[FeatureMap]) -> NDArray[np.float64]:
    """
    List the sizes of the priors of all levels.

    :param levels: the levels.
    :return: ``(K, 2)`` (width, height), pixels of the network input.
    """
    return np.array([size for level in levels for size in level.sizes], np.float64)
