"""Boxes in the network input to those that the network can hardly learn."""

from collections.abc import Iterator, Sequence
from typing import Literal

from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import FeatureMap, resize_transform
from mnssd_training.inspection.findings import Finding
from mnssd_training.inspection.placed import Placed
import numpy as np
from numpy.typing import NDArray

ENOUGH = 30  # boxes that tell something of a class
MOST = 0.5  # part of the boxes of a class


def sizes_in_input(
    placed: Placed, input_size: tuple[int, int], resize: Literal['stretch', 'letterbox']
) -> NDArray[np.float64]:
    """
    Measure boxes in the network input.

    :param placed: the boxes of one image.
    :param input_size: (height, width) of the network input, pixels.
    :param resize: how images are brought to that size.
    :return: ``(N, 2)`` (width, height), pixels of the input.
    """
    plan = resize_transform(placed.size, input_size, resize)
    scale = (plan.content_size[1] / placed.size[1], plan.content_size[0] / placed.size[0])
    return placed.sides * np.array(scale)


def check_network(
    placed: Placed,
    sizes: NDArray[np.float64],
    levels: Sequence[FeatureMap],
    positive_iou: float,
    min_side: float,
) -> Iterator[Finding]:
    """
    Find objects that are too small in the network input, or that no prior fits.

    :param placed: the boxes of one image.
    :param sizes: ``(N, 2)`` of the same, pixels of the input.
    :param levels: of priors.
    :param positive_iou: from this IoU on a prior answers for an object.
    :param min_side: a box with a smaller side becomes an ignore region, pixels of the input.
    :return: the findings.
    """
    rows = np.flatnonzero(placed.is_object)
    own = sizes[rows]
    for row, size, best in zip(rows, own, _best_ious(own, levels)):
        box = placed.entry.boxes[row]
        shown = f'{box.name}: {size[0]:.1f} x {size[1]:.1f} pixels of the network input'
        if (size < min_side).any():
            words, kind = f'{shown}, less than {min_side:g}', 'box small for network'
        elif best < positive_iou:
            words = f'{shown}; IoU {best:.2f} with the nearest prior, {positive_iou:g} is needed'
            kind = 'box without prior'
        else:
            continue
        yield Finding(kind, str(placed.entry.annotation), box.where, words)


def check_priors(
    sizes: NDArray[np.float64],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    levels: Sequence[FeatureMap],
    positive_iou: float,
    min_side: float,
    root: str,
) -> Iterator[Finding]:
    """
    Find classes most of whose training boxes are out of reach of the network.

    Such a box is too small, or has an IoU of less than ``positive_iou`` with every prior. An
    object of the second kind still gets its best prior, one where others get several; where that
    goes for more than half of a class, its scores suffer.

    :param sizes: ``(N, 2)`` (width, height) of the training boxes, pixels of the input.
    :param labels: ``(N,)`` of the boxes.
    :param class_names: in the order of their labels.
    :param levels: of priors.
    :param positive_iou: from this IoU on a prior answers for an object.
    :param min_side: a box with a smaller side becomes an ignore region, pixels of the input.
    :param root: of the dataset, for the findings.
    :return: a finding for all classes together, and one a class.
    """
    is_small = (sizes < min_side).any(axis=1)
    is_unmatched = is_small | (_best_ious(sizes, levels) < positive_iou)
    groups = [('all classes', np.ones(len(labels), np.bool_))]
    groups += [(name, labels == label) for label, name in enumerate(class_names)]
    for name, own in groups:
        num, num_small = int((own & is_unmatched).sum()), int((own & is_small).sum())
        if own.sum() < ENOUGH or num <= MOST * own.sum():
            continue
        wide, high = np.median(sizes[own & is_unmatched], axis=0)
        priors = np.array([size for level in levels for size in level.sizes])
        low, big = priors.prod(axis=1).argmin(), priors.prod(axis=1).argmax()
        yield Finding(
            'most boxes without prior',
            root,
            name,
            f'{num} of {own.sum()} boxes to train on: {num_small} have a side of less than '
            f'{min_side:g} pixels of the network input, {num - num_small} an IoU of less than '
            f'{positive_iou:g} with every prior; their median is {wide:.1f} x {high:.1f} pixels, '
            f'priors have {priors[low][0]:.1f} x {priors[low][1]:.1f} to {priors[big][0]:.1f} x '
            f'{priors[big][1]:.1f}, the finest stride is {min(levels[0].stride):g}',
        )


def _best_ious(sizes: NDArray[np.float64], levels: Sequence[FeatureMap]) -> NDArray[np.float64]:
    """Measure the IoU of each box with the prior that fits best, whatever the place."""
    priors = np.array([size for level in levels for size in level.sizes])
    ious = boxes_of.box_iou(
        np.concatenate((-sizes, sizes), axis=1), np.concatenate((-priors, priors), axis=1)
    )
    return ious.max(axis=1, initial=0)
