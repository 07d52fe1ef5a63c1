"""
Greedy non-maximum suppression without a Python loop.

Greedy suppression keeps a box exactly if no kept, better box of its class overlaps it too much.
That sentence is a fixed point: start with all boxes kept, apply it to all at once, and repeat
until nothing changes. Box i is right after at most as many rounds as the longest chain of better
boxes above it, so the result is the one that the loop over boxes finds.
"""

from mnssd_perception.ssd.boxes import box_area
import numpy as np
from numpy.typing import NDArray


def nms(
    boxes: NDArray[np.float32], labels: NDArray[np.int64], iou_threshold: float
) -> NDArray[np.bool_]:
    """
    Suppress boxes that overlap a better one of their class.

    :param boxes: ``(N, 4)`` xyxy, best first.
    :param labels: ``(N,)``; boxes of different labels do not suppress each other.
    :param iou_threshold: a box is suppressed above this IoU with a better one that is kept.
    :return: ``(N,)``, True for the boxes that are kept.
    """
    better, worse = _same_label_pairs(labels)
    better, worse = _overlapping(boxes, better, worse, iou_threshold)
    keep = np.ones(len(boxes), bool)
    while len(worse):
        next_keep = np.ones(len(boxes), bool)
        next_keep[worse[keep[better]]] = False
        if np.array_equal(next_keep, keep):
            break
        keep = next_keep
    return keep


def _same_label_pairs(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List the pairs (better, worse) of boxes of one label."""
    order = np.argsort(labels, kind='stable')
    ends = np.searchsorted(labels[order], labels[order], side='right')
    num_worse = ends - np.arange(len(labels)) - 1  # boxes of the label after each one
    first = np.repeat(np.arange(len(labels)), num_worse)
    starts = np.cumsum(num_worse) - num_worse
    second = np.arange(len(first)) - np.repeat(starts, num_worse) + first + 1
    return order[first], order[second]


def _overlapping(
    boxes: NDArray[np.float32],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    iou_threshold: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keep the pairs whose IoU is above the threshold."""
    left, top, right, bottom = boxes.T
    wide = np.minimum(right[first], right[second]) - np.maximum(left[first], left[second])
    near = np.flatnonzero(wide > 0)
    first, second, wide = first[near], second[near], wide[near]
    high = np.minimum(bottom[first], bottom[second]) - np.maximum(top[first], top[second])
    shared = wide * np.maximum(high, 0)
    areas = box_area(boxes)
    above = shared > iou_threshold * (areas[first] + areas[second] - shared)
    return first[above], second[above]
