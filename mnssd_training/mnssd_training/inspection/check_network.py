"""Boxes in the network input to those that the network can hardly learn."""

from collections.abc import Iterator, Sequence
from typing import Literal

from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import FeatureMap, resizing
from mnssd_training.inspection.findings import Finding
from mnssd_training.inspection.placed import Placed
import numpy as np
from numpy.typing import NDArray

__all__ = ['check_network', 'sizes_in_input']


def sizes_in_input(
    placed: Placed, input_size: tuple[int, int], resize: Literal['stretch', 'letterbox']
) -> NDArray[np.float64]:
    """
    Measure boxes in the network input.

    :param placed: the boxes of one image.
    :param input_size: (height, width) of the network input, pixels.
    :param resize: how photographs are brought to that size.
    :return: ``(N, 2)`` (width, height), pixels of the input.
    """
    plan = resizing(placed.size, input_size, resize)
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
    priors = np.array([size for level in levels for size in level.sizes])
    own = sizes[rows]
    ious = boxes_of.iou(
        np.concatenate((-own, own), axis=1), np.concatenate((-priors, priors), axis=1)
    ).max(axis=1, initial=0)
    for row, size, best in zip(rows, own, ious):
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
