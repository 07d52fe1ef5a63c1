"""Measure how well priors (anchors) fit the boxes of a dataset."""

from collections.abc import Sequence
from dataclasses import dataclass

from mnssd_perception.ssd import boxes as box_ops
from mnssd_perception.ssd import FeatureMap, generate_priors, ModelSpec, resize_transform
from mnssd_training.data.sample import Sample
from mnssd_training.priors import cluster_sizes, split_by_level
import numpy as np
from numpy.typing import NDArray

RECALL_IOUS = (0.4, 0.5, 0.6, 0.7)
MIN_GAIN = 0.02  # of the mean IoU, by one more prior per cell
STARTS = 3  # of k-means, which finds a local optimum; the best one counts
BLOCK = 256  # boxes that are compared with all priors at a time


@dataclass(frozen=True)
class AnchorFit:
    """How well priors fit boxes; without boxes, they fit perfectly."""

    num_boxes: int
    mean_iou: float  # of each box with its best prior
    recall: tuple[float, ...]  # share of the boxes with a prior, at each of RECALL_IOUS


@dataclass(frozen=True)
class GridMatch:
    """The best prior of each box, ``(N,)``, where the grid of the network puts them."""

    iou: NDArray[np.float64]
    level: NDArray[np.int64]
    prior: NDArray[np.int64]  # its index
    iou_by_level: NDArray[np.float64]  # (N, levels), with the best prior of each level


def boxes_in_network(
    samples: Sequence[Sample], spec: ModelSpec
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """List the boxes of all samples, ``(N, 4)`` xyxy in pixels of the input, and labels."""
    height, width = spec.input_size
    scale = np.array((width, height) * 2, np.float64)
    boxes = [
        resize_transform(sample.size, spec.input_size, spec.resize).to_input(sample.boxes) * scale
        for sample in samples
    ]
    labels = np.concatenate([np.zeros(0, np.int64), *(sample.labels for sample in samples)])
    return np.concatenate([*boxes, np.zeros((0, 4))]), labels


def summarize_fit(ious: NDArray[np.float64]) -> AnchorFit:
    """Summarise the IoU ``(N,)`` of each box with its best prior."""
    if not len(ious):
        return AnchorFit(0, 1.0, (1.0,) * len(RECALL_IOUS))
    recall = tuple(float((ious >= iou).mean()) for iou in RECALL_IOUS)
    return AnchorFit(len(ious), float(ious.mean()), recall)


def best_centred_iou(
    sizes: NDArray[np.float64], prior_sizes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """
    Compute the IoU ``(N,)`` of each size ``(N, 2)`` with the best of ``(K, 2)`` prior sizes.

    All have the same centre, which is the best that any grid can do.
    """
    ious = box_ops.box_iou(
        np.concatenate((-sizes, sizes), axis=1),
        np.concatenate((-prior_sizes, prior_sizes), axis=1),
    )
    return ious.max(axis=1, initial=0)


def match_grid(boxes: NDArray[np.float64], spec: ModelSpec) -> GridMatch:
    """Find the best prior of each box, ``(N, 4)`` xyxy in pixels of the network input."""
    height, width = spec.input_size
    scale = np.array((width, height) * 2, np.float32)
    priors = box_ops.cxcywh_to_xyxy(generate_priors(spec)) * scale
    ends = np.cumsum([level.num_priors for level in spec.feature_maps])
    starts = ends - [level.num_priors for level in spec.feature_maps]
    iou_by_level = np.zeros((len(boxes), len(ends)))
    prior = np.zeros(len(boxes), np.int64)
    for first in range(0, len(boxes), BLOCK):
        rows = slice(first, first + BLOCK)
        ious = box_ops.box_iou(boxes[rows].astype(np.float32), priors)
        prior[rows] = ious.argmax(axis=1)
        iou_by_level[rows] = np.maximum.reduceat(ious, starts, axis=1)
    level = np.searchsorted(ends, prior, side='right')
    return GridMatch(iou_by_level.max(axis=1, initial=0), level, prior, iou_by_level)


def cluster_curve(sizes: NDArray[np.float64], max_clusters: int, seed: int) -> list[AnchorFit]:
    """
    Cluster the sizes ``(N, 2)`` of boxes into 1, 2, 3, ... prior sizes by k-means.

    :return: the fit of each number of clusters; fewer where there are fewer boxes.
    """

    def fit_clusters(num: int, seed: int) -> AnchorFit:
        centres = cluster_sizes(sizes, num, np.random.default_rng(seed))
        return summarize_fit(best_centred_iou(sizes, centres))

    return [
        max((fit_clusters(num, seed + i) for i in range(STARTS)), key=lambda fit: fit.mean_iou)
        for num in range(1, min(max_clusters, len(sizes)) + 1)
    ]


def suggest_priors_per_cell(
    sizes: NDArray[np.float64], strides: Sequence[int], max_clusters: int, seed: int
) -> tuple[int, ...]:
    """
    Choose how many priors a cell of each level has: more, as long as each of them gains enough.

    :param sizes: ``(N, 2)`` (width, height) of boxes, pixels of the network input.
    :return: for each level at least two, so that wide and tall objects both have one.
    """
    priors_per_cell = []
    for level_sizes in split_by_level(sizes, strides):
        curve = cluster_curve(level_sizes, max_clusters, seed)
        num = 2
        while num < len(curve) and curve[num].mean_iou - curve[num - 1].mean_iou >= MIN_GAIN:
            num += 1
        priors_per_cell.append(num)
    return tuple(priors_per_cell)


def prior_sizes(levels: Sequence[FeatureMap]) -> NDArray[np.float64]:
    """List the (width, height) ``(K, 2)`` of the priors of all levels, pixels of the input."""
    return np.array([size for level in levels for size in level.sizes], np.float64)
