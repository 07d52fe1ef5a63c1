"""
Objects of a thermal photograph to the same objects against the other contrast.

By night a parked bicycle or car is warmer than the ground, by day cooler; the shape stays. A model
that has seen one half of the day is so shown the other.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ['with_turned_objects']

RING = 3  # pixels around an object that tell how bright the ground is
SMALLEST = 3  # pixels; what is smaller has no inside
CORE = 1.15  # where the change begins to fade, in half sides, to the fourth
STEEPNESS = 3.0  # of the fading towards the edges of the box


def with_turned_objects(
    image: NDArray[np.uint8], boxes: NDArray[np.floating]
) -> NDArray[np.uint8]:
    """
    Mirror the brightness of each object at that of the ground around it.

    :param image: ``(height, width, 3)`` uint8 RGB.
    :param boxes: ``(N, 4)`` xyxy, pixels.
    :return: ``(height, width, 3)`` uint8 RGB, a copy.
    """
    height, width = image.shape[:2]
    turned = image.copy()
    edges = np.rint(boxes).astype(np.int64).clip(0, (width, height, width, height))
    for x1, y1, x2, y2 in edges.tolist():
        if x2 - x1 < SMALLEST or y2 - y1 < SMALLEST:
            continue
        ground = _ground(image, x1, y1, x2, y2)
        inside = turned[y1:y2, x1:x2].astype(np.float32)
        mirrored = inside + _fading(y2 - y1, x2 - x1) * 2 * (ground - inside)
        turned[y1:y2, x1:x2] = np.rint(mirrored.clip(0, 255)).astype(np.uint8)
    return turned


def _ground(image: NDArray[np.uint8], x1: int, y1: int, x2: int, y2: int) -> NDArray[np.float32]:
    """Measure the median of each channel around a box; of the box itself if there is no around."""
    sides = (
        image[max(y1 - RING, 0) : y1, x1:x2],
        image[y2 : y2 + RING, x1:x2],
        image[y1:y2, max(x1 - RING, 0) : x1],
        image[y1:y2, x2 : x2 + RING],
    )
    ring = np.concatenate([side.reshape(-1, 3) for side in sides])
    pixels = ring if len(ring) else image[y1:y2, x1:x2].reshape(-1, 3)
    return np.median(pixels, axis=0).astype(np.float32)


def _fading(height: int, width: int) -> NDArray[np.float32]:
    """Weigh the inside of a box 1 and its corners 0, ``(height, width, 1)``."""
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    weight = np.clip((CORE - (x**4 + y**4)) * STEEPNESS, 0, 1)
    return weight[..., None].astype(np.float32)
