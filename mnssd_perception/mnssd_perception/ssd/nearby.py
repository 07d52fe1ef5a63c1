"""
Many boxes and a few to the overlaps between them, without comparing all with all.

Of ten thousand priors an object meets some hundred, and priors that follow each other lie side by
side. They are taken in blocks, and only blocks that an object meets are looked at.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 32  # of 16 to 256 the fastest, for 12 000 priors and 1 to 150 objects


@dataclass(frozen=True)
class Nearby:
    """
    The K pairs of a block of the many and a box of the few that meet, in the order of blocks.

    :ivar num: P, of the many.
    :ivar block: ``(K,)`` int64, ascending.
    :ivar box: ``(K,)`` int64, ascending within a block.
    :ivar shared: ``(K, BLOCK)`` areas that the many of the block share with the box.
    :ivar area: ``(K, BLOCK)`` areas of the many.
    """

    num: int
    block: NDArray[np.int64]
    box: NDArray[np.int64]
    shared: NDArray[np.floating]
    area: NDArray[np.floating]


def nearby(many: NDArray[np.floating], few: NDArray[np.floating]) -> Nearby:
    """
    Measure overlaps where there are any.

    :param many: ``(P, 4)`` xyxy.
    :param few: ``(N, 4)`` xyxy, unit of the many.
    :return: the pairs that meet.
    """
    blocks = _blocks(many)
    low, high = blocks[:2].min(axis=2), blocks[2:].max(axis=2)
    meets = (low[:, :, None] < few.T[2:, None]) & (high[:, :, None] > few.T[:2, None])
    block, box = np.nonzero(meets.all(axis=0))
    x1, y1, x2, y2 = blocks[:, block]
    left, top, right, bottom = few[box].T[:, :, None]
    shared_x = np.maximum(np.minimum(x2, right) - np.maximum(x1, left), 0)
    shared_y = np.maximum(np.minimum(y2, bottom) - np.maximum(y1, top), 0)
    area = np.maximum(x2 - x1, 0) * np.maximum(y2 - y1, 0)
    return Nearby(len(many), block, box, shared_x * shared_y, area)


def _blocks(many: NDArray[np.floating]) -> NDArray[np.floating]:
    """Cut into blocks, ``(4, B, BLOCK)``; the last is filled up with boxes without area."""
    num = -(-len(many) // BLOCK)
    edges = np.empty((4, num * BLOCK), many.dtype)
    edges[:, : len(many)] = many.T
    edges[:, len(many) :] = many[-1:, [0, 1, 0, 1]].T
    return edges.reshape(4, num, BLOCK)


def strongest(
    pairs: Nearby, values: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """
    Find the best of the few for each of the many.

    :param pairs: that meet.
    :param values: ``(K, BLOCK)``, at least 0; 0 for all that do not meet.
    :return: ``(P,)`` the largest value, and ``(P,)`` int64 the first of the few that has it.
    """
    num_blocks = -(-pairs.num // BLOCK)
    largest = np.zeros((num_blocks, BLOCK), values.dtype)
    first = np.zeros((num_blocks, BLOCK), np.int64)
    starts = np.flatnonzero(np.diff(pairs.block, prepend=-1))
    if len(starts):
        met = pairs.block[starts]
        largest[met] = np.maximum.reduceat(values, starts, axis=0)
        is_best = (values == largest[pairs.block]) & (values > 0)
        beyond = np.iinfo(np.int64).max
        order = np.where(is_best, pairs.box[:, None], beyond)
        first[met] = np.minimum.reduceat(order, starts, axis=0)
        first[first == beyond] = 0
    return largest.reshape(-1)[: pairs.num], first.reshape(-1)[: pairs.num]
