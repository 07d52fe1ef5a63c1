"""
Assign priors to the objects of a network input: by IoU, adaptively (ATSS), or as candidates (TAL).

Zhang et al., Bridging the Gap Between Anchor-based and Anchor-free Detection via Adaptive Training
Sample Selection, CVPR 2020, algorithm 1. With several priors per cell, which have one centre, the
closest cells give all of theirs, as in the code of the paper. Beyond the paper, an object without
a positive prior gets the best that is free: small ones often have no centre of a prior inside.
"""

from mnssd_perception.ssd import boxes as box_ops
from mnssd_perception.ssd import (
    encode_matches,
    generate_priors,
    match_priors,
    ModelSpec,
    Targets,
)
from mnssd_training.config.sections import AssignmentConfig
from mnssd_training.data.transforms import NetworkSample
import numpy as np
from numpy.typing import NDArray


def make_targets(sample: NetworkSample, spec: ModelSpec, matching: AssignmentConfig) -> Targets:
    """Make the training targets of a network input; ``spec`` has its size."""
    matches = assign_priors(sample.boxes, sample.ignore, spec, matching)
    return encode_matches(
        matches, sample.boxes, sample.labels, generate_priors(spec), spec.variances
    )


def assign_priors(
    boxes: NDArray[np.floating],
    ignore: NDArray[np.floating],
    spec: ModelSpec,
    matching: AssignmentConfig,
) -> NDArray[np.int64]:
    """
    Assign each prior to an object, as :func:`mnssd_perception.ssd.match_priors` does for ``iou``.

    :param boxes: ``(N, 4)`` xyxy, fractions of the network input, sides greater than 0.
    :param ignore: ``(M, 4)`` xyxy ignore regions, fractions of the network input.
    :return: ``(P,)`` int64; index of the object, -1 for background, -2 for left out. For ``tal``
        no prior has an object: the training step assigns :func:`find_candidates`.
    """
    priors = box_ops.cxcywh_to_xyxy(generate_priors(spec))
    if matching.method == 'iou':
        return match_priors(priors, boxes, ignore, matching)
    matches = match_priors(priors, boxes[:0], ignore, matching)  # leaves out ignore regions
    if len(boxes) and matching.method == 'atss':
        candidates = closest_priors(boxes, spec, matching.atss_candidates)
        _match_adaptively(matches, priors, boxes, candidates)
    return matches


def find_candidates(
    boxes: NDArray[np.floating], spec: ModelSpec, num_cells: int
) -> NDArray[np.int64]:
    """
    Find the priors that may answer for objects, from which a training step chooses (TAL).

    These are :func:`closest_priors` whose centre lies in the object, or if none does, the one with
    the highest IoU.

    :param boxes: ``(N, 4)`` xyxy, fractions of the network input.
    :return: ``(N, K)`` indices of priors, -1 for none.
    """
    candidates = closest_priors(boxes, spec, num_cells)
    edges = box_ops.cxcywh_to_xyxy(generate_priors(spec))[candidates]  # (N, K, 4)
    is_candidate = _is_centre_inside(edges, boxes)
    best = _paired_iou(edges, boxes[:, None]).argmax(axis=1)
    lonely = np.flatnonzero(~is_candidate.any(axis=1))
    is_candidate[lonely, best[lonely]] = True
    return np.where(is_candidate, candidates, -1)


def closest_priors(
    boxes: NDArray[np.floating], spec: ModelSpec, num_cells: int
) -> NDArray[np.int64]:
    """
    Find the priors of the cells of each level that are closest to the centres of objects.

    :param boxes: ``(N, 4)`` xyxy, fractions of the network input.
    :return: ``(N, K)`` indices of priors, level by level, the closest cell first. K is the same
        for all boxes: a level with fewer cells gives all of them.
    """
    height, width = spec.input_size
    all_priors = generate_priors(spec).astype(np.float64)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 * (width, height)
    num_boxes, start, closest = len(boxes), 0, []
    for level in spec.feature_maps:
        end, per_cell = start + level.num_priors, len(level.sizes)
        grid = all_priors[start:end:per_cell].reshape(*level.shape, 4)
        y_lines, x_lines = grid[:, 0, 1] * height, grid[0, :, 0] * width
        row, y = _closest_lines(centres[:, 1], y_lines, level.stride[0], num_cells)
        column, x = _closest_lines(centres[:, 0], x_lines, level.stride[1], num_cells)
        # The closest cells lie where the closest rows cross the closest columns.
        shape = num_boxes, row.shape[1] * column.shape[1]
        distance = (y[:, :, None] ** 2 + x[:, None] ** 2).reshape(shape)
        cell = (row[:, :, None] * level.shape[1] + column[:, None]).reshape(shape)
        order = distance.argsort(axis=1, kind='stable')[:, :num_cells]
        first = start + np.take_along_axis(cell, order, axis=1) * per_cell  # (N, cells)
        priors = first[:, :, None] + np.arange(per_cell)  # (N, cells, per_cell)
        closest.append(priors.reshape(num_boxes, order.shape[1] * per_cell))
        start = end
    return np.concatenate(closest, axis=1)


def _closest_lines(
    positions: NDArray[np.floating], lines: NDArray[np.floating], stride: float, num: int
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """
    Find consecutive rows or columns of a grid, among which are the ``num`` closest.

    :return: indices and distances, ``(N, L)``. There are two more than ``num``, because of equal
        distances, and because the last line may lie closer than a stride: at the edge.
    """
    num_lines = min(num + 2, len(lines))
    first = np.floor(positions / stride - 0.5 - (num_lines - 1) / 2).astype(np.int64)
    index = first.clip(0, len(lines) - num_lines)[:, None] + np.arange(num_lines)
    return index, lines[index] - positions[:, None]


def _match_adaptively(
    matches: NDArray[np.int64],
    priors: NDArray[np.floating],
    boxes: NDArray[np.floating],
    candidates: NDArray[np.int64],
) -> None:
    """
    Match the priors whose IoU is at least mean plus deviation of an object's candidates, in place.

    :param priors: ``(P, 4)`` xyxy.
    :param boxes: ``(N, 4)`` xyxy, N at least 1.
    :param candidates: ``(N, K)`` from :func:`closest_priors`.
    """
    edges = priors[candidates]  # (N, K, 4)
    ious = _paired_iou(edges, boxes[:, None])
    deviation = ious.std(axis=1, ddof=min(1, ious.shape[1] - 1))
    is_positive = _is_centre_inside(edges, boxes) & (
        ious >= (ious.mean(axis=1) + deviation)[:, None]
    )
    box, column = (index[::-1] for index in np.nonzero(is_positive))
    # The last that claims a prior gets it: the one with the highest IoU, of equals the first.
    order = ious[box, column].argsort(kind='stable')
    matches[candidates[box, column][order]] = box[order]

    num_positives = np.bincount(matches[matches >= 0], minlength=len(boxes))
    for index in (-ious.max(axis=1)).argsort(kind='stable'):
        if num_positives[index]:
            continue
        owner = matches[candidates[index]]
        is_free = (owner < 0) | (num_positives[owner.clip(0)] > 1)
        free_ious = ious[index] * is_free
        best = int(free_ious.argmax())
        if free_ious[best] > 0:
            if owner[best] >= 0:
                num_positives[owner[best]] -= 1
            matches[candidates[index, best]] = index
            num_positives[index] = 1


def _is_centre_inside(
    priors: NDArray[np.floating], boxes: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Tell which of ``(N, K, 4)`` xyxy priors have their centre in their box of ``(N, 4)``."""
    centres = (priors[..., :2] + priors[..., 2:]) / 2
    is_inside = (centres > boxes[:, None, :2]) & (centres < boxes[:, None, 2:])
    return np.logical_and.reduce(is_inside, axis=2)


def _paired_iou(boxes: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.floating]:
    """Compute the IoU of each pair of ``(..., 4)`` xyxy boxes whose shapes fit, ``(...)``."""
    low, high = np.maximum(boxes, others)[..., :2], np.minimum(boxes, others)[..., 2:]
    shared = (high - low).clip(0).prod(axis=-1)
    area, other_area = ((b[..., 2:] - b[..., :2]).clip(0).prod(axis=-1) for b in (boxes, others))
    return box_ops.divide_areas(shared, area + other_area - shared)
