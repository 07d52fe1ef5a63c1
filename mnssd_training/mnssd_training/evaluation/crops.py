"""A failure to a small image of it: what was found beside what is annotated."""

from collections.abc import Sequence

import cv2
from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import Sample
from mnssd_training.evaluation.failures import Failure
import numpy as np
from numpy.typing import NDArray

# People with any colour vision tell these apart (after Okabe and Ito, Color Universal Design,
# 2008); RGB.
TRUTH, FOUND, OTHERS, RIM = (0, 190, 140), (255, 150, 0), (170, 170, 170), (0, 0, 0)

SIDE = 224  # pixels of the image
MARGIN = 1.0  # around the boxes, in their sides
SMALLEST = 48  # pixels of the image; a closer look shows only its pixels


def draw_failure(
    image: NDArray[np.uint8], sample: Sample, detections: Detections, failure: Failure
) -> NDArray[np.uint8]:
    """
    Draw a failure with its surroundings.

    :param image: ``(H, W, 3)`` uint8 RGB, the image.
    :param sample: its annotations; other objects are drawn in grey.
    :param detections: what was found in it.
    :param failure: what went wrong.
    :return: ``(224, 224, 3)`` uint8 RGB; the annotation green, the detection amber.
    """
    own: list[tuple[NDArray[np.float32], tuple[int, int, int]]] = []
    if failure.object is not None:
        own.append((sample.boxes[failure.object], TRUTH))
    if failure.detection is not None:
        own.append((detections.boxes[failure.detection], FOUND))
    left, top, side = _window([box for box, _ in own])
    picture = _cut(image, left, top, side)
    scale = SIDE / side
    others = [box for i, box in enumerate(sample.boxes) if i != failure.object]
    for box, colour in [*((box, OTHERS) for box in others), *own]:
        edges = ((box - (left, top, left, top)) * scale).round().astype(int).tolist()
        _draw(picture, edges, colour)
    return picture


def _window(boxes: Sequence[NDArray[np.float32]]) -> tuple[int, int, int]:
    """Choose the square to look at: left, top and side, pixels of the image."""
    stacked = np.array(boxes, np.float64).reshape(-1, 4)
    low, high = stacked[:, :2].min(axis=0), stacked[:, 2:].max(axis=0)
    side = max(SMALLEST, round(float((high - low).max()) * (1 + 2 * MARGIN)))
    left, top = np.floor((low + high - side) / 2).astype(int).tolist()
    return left, top, side


def _cut(image: NDArray[np.uint8], left: int, top: int, side: int) -> NDArray[np.uint8]:
    """Cut the square out, grey where it leaves the image, at the size of the image."""
    picture = np.full((SIDE, SIDE, 3), 114, np.uint8)
    height, width = image.shape[:2]
    corners = np.array((left, top, left + side, top + side))
    x1, y1, x2, y2 = np.clip(corners, 0, (width, height, width, height)).tolist()
    inside = np.array((x1 - left, y1 - top, x2 - left, y2 - top)) * SIDE / side
    u1, v1, u2, v2 = inside.round().astype(int).tolist()
    if u2 > u1 and v2 > v1:
        method = cv2.INTER_AREA if side > SIDE else cv2.INTER_CUBIC
        picture[v1:v2, u1:u2] = cv2.resize(
            image[y1:y2, x1:x2], (u2 - u1, v2 - v1), interpolation=method
        )
    return picture


def _draw(picture: NDArray[np.uint8], edges: list[int], colour: tuple[int, int, int]) -> None:
    """Draw a frame around a box, with a dark rim that shows on a bright ground."""
    left, top, right, bottom = edges
    for grow, ink in ((2, RIM), (1, colour)):
        first, last = (left - grow, top - grow), (right + grow - 1, bottom + grow - 1)
        cv2.rectangle(picture, first, last, ink, 1, cv2.LINE_8)
