"""
Change the contrast between objects and their surroundings.

How much warmer or cooler than the ground an object looks depends on weather and time of day. The
levels of an object are scaled around the median of the ring around its box, and only those on its
side of the median: the ground inside the box keeps its level, so no edge of a box shows, and the
polarity stays what it was.
"""

from collections.abc import Sequence
import math

import numpy as np
from numpy.typing import NDArray

RING = 0.3  # width of the ring around a box, in its smaller side
MARGIN = 0.15  # width of the soft edge around a box, in its smaller side
MIN_WIDTH = 2  # pixels, of both

PixelBox = tuple[int, int, int, int]  # xyxy


def scale_contrast(
    image: NDArray[np.uint8], boxes: NDArray[np.floating], factors: NDArray[np.floating]
) -> None:
    """
    Scale the contrast of objects against their surroundings, in place.

    :param image: ``(H, W, 3)`` uint8.
    :param boxes: ``(N, 4)`` xyxy, pixels.
    :param factors: ``(N,)`` positive.
    """
    rows = [to_pixels(box) for box in boxes]
    is_object = paint_boxes(image.shape[:2], rows)
    source, areas = image.copy(), []
    change = np.zeros(image.shape, np.float32)
    weight = np.zeros((*image.shape[:2], 1), np.float32)
    for box, factor in zip(rows, factors):
        ring = ring_levels(image, box, is_object)
        if not len(ring):  # objects fill the surroundings
            continue
        mask, area = soft_mask(image.shape[:2], box)
        contrast = image[area] - np.median(ring, axis=0).astype(np.float32)  # (h, w, 3)
        polarity = np.sign((contrast * mask).sum())
        contrast = np.maximum(contrast * polarity, 0) * polarity
        areas.append(area)
        change[area] += (float(factor) - 1) * mask * contrast
        weight[area] += mask
    for area in areas:  # a pixel in several boxes gets the mean of their changes
        levels = source[area] + change[area] / np.maximum(weight[area], 1)
        image[area] = np.rint(np.clip(levels, 0, 255))


def to_pixels(box: NDArray[np.floating]) -> PixelBox:
    """Round a box outwards, to whole pixels."""
    return (*map(math.floor, box[:2].tolist()), *map(math.ceil, box[2:].tolist()))


def paint_boxes(size: tuple[int, int], boxes: Sequence[PixelBox]) -> NDArray[np.bool_]:
    """Mark the pixels in any box, ``(H, W)``."""
    is_object = np.zeros(size, bool)
    for x1, y1, x2, y2 in boxes:
        is_object[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = True
    return is_object


def ring_levels(
    image: NDArray[np.uint8], box: PixelBox, is_object: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """List the levels around a box without those of objects, ``(N, 3)``; N may be 0."""
    x1, y1, x2, y2 = box
    width = margin_width(box, RING)
    edges = ((max(low - width, 0), max(high + width, 0)) for low, high in ((y1, y2), (x1, x2)))
    area = tuple(slice(*pair) for pair in edges)
    return np.asarray(image[area][~is_object[area]])


def soft_mask(
    size: tuple[int, int], box: PixelBox
) -> tuple[NDArray[np.float32], tuple[slice, slice]]:
    """
    Mask a box without its corners, with a soft edge in the margin around it.

    :param size: (height, width) of the image.
    :return: mask ``(h, w, 1)``, and the area of the image that it covers.
    """
    margin = margin_width(box, MARGIN)
    radii, area = [], []
    for low, high, side in zip(box[:2], box[2:], size[::-1]):
        start = max(low - margin, 0)
        stop = max(min(high + margin, side), start)
        radius = (high - low) / 2
        radii.append((np.arange(start, stop) + 0.5 - (low + high) / 2) / radius)
        area.append(slice(start, stop))
    distance = (radii[1][:, None] ** 4 + radii[0] ** 4) ** 0.25  # 1 on the edges of the box
    softness = 2 * margin / min(box[2] - box[0], box[3] - box[1])  # in radii
    mask = np.clip(1 + (1 - distance) / softness, 0, 1).astype(np.float32)
    return mask[..., None], (area[1], area[0])


def margin_width(box: PixelBox, share: float) -> int:
    """Return the width of a margin around a box, pixels."""
    return max(MIN_WIDTH, round(share * min(box[2] - box[0], box[3] - box[1])))
