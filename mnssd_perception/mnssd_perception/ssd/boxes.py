"""
Geometry of axis-aligned boxes.

Boxes are ``(N, 4)`` arrays (x1, y1, x2, y2) of continuous edges unless a name says otherwise; all
functions work in any unit and on N = 0.
"""

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]


def box_area(boxes: Boxes) -> Boxes:
    """Compute areas, ``(N,)``; 0 for a box turned inside out."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def clip_boxes(boxes: Boxes, width: float, height: float) -> Boxes:
    """Clip boxes to an image of a size; a new array of the same type."""
    limit = np.array((width, height, width, height), boxes.dtype)
    return np.clip(boxes, 0, limit)


def cxcywh_to_xyxy(boxes: Boxes) -> Boxes:
    """Convert (centre x, centre y, width, height) to edges."""
    x, y, width, height = boxes.T  # columns: loops over pairs would take five times as long
    half_x, half_y = width / 2, height / 2
    return np.stack((x - half_x, y - half_y, x + half_x, y + half_y), axis=1)


def xyxy_to_cxcywh(boxes: Boxes) -> Boxes:
    """Convert edges to (centre x, centre y, width, height)."""
    return np.concatenate(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), axis=1)


def box_intersection(boxes1: Boxes, boxes2: Boxes) -> Boxes:
    """Compute the areas that N boxes share with M boxes, ``(N, M)``."""
    width = np.minimum(boxes1[:, None, 2], boxes2[:, 2])
    width -= np.maximum(boxes1[:, None, 0], boxes2[:, 0])
    height = np.minimum(boxes1[:, None, 3], boxes2[:, 3])
    height -= np.maximum(boxes1[:, None, 1], boxes2[:, 1])
    return np.maximum(width, 0) * np.maximum(height, 0)


def box_iou(boxes1: Boxes, boxes2: Boxes) -> Boxes:
    """Compute the intersection over union of N boxes and M boxes, ``(N, M)``; 0 of no area."""
    shared = box_intersection(boxes1, boxes2)
    return divide_areas(shared, box_area(boxes1)[:, None] + box_area(boxes2) - shared)


def box_ioa(boxes: Boxes, regions: Boxes) -> Boxes:
    """Compute which part of N boxes lies in each of M regions, ``(N, M)``; 0 of no area."""
    shared = box_intersection(boxes, regions)
    return divide_areas(shared, np.broadcast_to(box_area(boxes)[:, None], shared.shape))


def divide_areas(part: Boxes, total: Boxes) -> Boxes:
    """Divide areas of one shape; 0 where the divisor is 0."""
    return np.divide(part, total, out=np.zeros_like(part), where=total > 0)
