"""
A window of an image to its place in the network input, for pixels and boxes alike.

Every geometric augmentation ends up as such a view, so that pixels are resampled once and boxes
cannot drift from them.
"""

from dataclasses import dataclass, replace
from typing import Literal

import cv2
from mnssd_perception.ssd import boxes as boxes_of
from mnssd_perception.ssd import resize_frame, resize_transform, ResizeTransform
import numpy as np
from numpy.typing import NDArray

Window = tuple[float, float, float, float]  # xyxy, pixels
Rectangle = tuple[int, int, int, int]  # xyxy, whole pixels


@dataclass(frozen=True)
class View:
    """
    What is shown of an image, and where.

    :ivar window: xyxy, whole pixels of the image and inside it.
    :ivar place: xyxy, whole pixels of the network input, that the window fills.
    :ivar flip_x: left and right change sides.
    :ivar flip_y: up and down change sides.
    """

    window: Rectangle
    place: Rectangle
    flip_x: bool = False
    flip_y: bool = False


def view_of(source_size: tuple[int, int], window: Window, tile: Rectangle) -> View:
    """
    Show a window in a tile.

    What of the window lies beyond the image is left free in the tile. Both ends are whole
    pixels, and the view is exact between them: the window asked for is met to half a pixel.

    :param source_size: (height, width) of the image.
    :param window: xyxy, pixels of the image; it may reach beyond it on every side.
    :param tile: xyxy, whole pixels of the network input.
    :return: the view.
    """
    x1, x2, left, right = _along(source_size[1], window[0::2], tile[0::2])
    y1, y2, top, bottom = _along(source_size[0], window[1::2], tile[1::2])
    return View((x1, y1, x2, y2), (left, top, right, bottom))


def _along(side: int, window: tuple[float, ...], tile: tuple[int, ...]) -> Rectangle:
    """Cut a window at the edges of the image and place the rest, along one axis."""
    (low, high), (first, last) = window, tile
    scale = (last - first) / (high - low)
    inner_low, inner_high = min(max(low, 0), side), min(max(high, 0), side)
    start = min(round(inner_low), side - 1)
    stop = max(round(inner_high), start + 1)
    place = min(max(round(first + (inner_low - low) * scale), first), last - 1)
    end = min(max(round(first + (inner_high - low) * scale), place + 1), last)
    return start, stop, place, end


def tile_of(
    window: Window, input_size: tuple[int, int], mode: Literal['stretch', 'letterbox']
) -> Rectangle:
    """
    Find the tile in which the drone would show a window, if it were an image.

    :param window: xyxy, pixels.
    :param input_size: (height, width) of the network input.
    :param mode: how images are brought to that size.
    :return: xyxy, whole pixels of the network input.
    """
    height, width = (max(1, round(window[i + 2] - window[i])) for i in (1, 0))
    plan = resize_transform((height, width), input_size, mode)
    (top, left), (height, width) = plan.origin, plan.content_size
    return left, top, left + width, top + height


def flip(view: View, tile: Rectangle, *, x: bool = False, y: bool = False) -> View:
    """
    Turn a tile with all that is in it around.

    :param view: what is in the tile.
    :param tile: xyxy, whole pixels of the network input.
    :param x: whether left and right change sides.
    :param y: whether up and down change sides.
    :return: the view after that.
    """
    left, top, right, bottom = view.place
    if x:
        left, right = tile[0] + tile[2] - right, tile[0] + tile[2] - left
    if y:
        top, bottom = tile[1] + tile[3] - bottom, tile[1] + tile[3] - top
    return replace(
        view, place=(left, top, right, bottom), flip_x=view.flip_x ^ x, flip_y=view.flip_y ^ y
    )


def render(view: View, image: NDArray[np.uint8], canvas: NDArray[np.uint8]) -> None:
    """
    Show an image.

    :param view: what of it, and where.
    :param image: ``(height, width, 3)`` uint8.
    :param canvas: ``(height, width, 3)`` uint8, the network input; its place of the view is
        written.
    """
    x1, y1, x2, y2 = view.window
    left, top, right, bottom = view.place
    content, out = image[y1:y2, x1:x2], canvas[top:bottom, left:right]
    size = (bottom - top, right - left)
    resize_frame(content, ResizeTransform(size, size, (0, 0), (y2 - y1, x2 - x1)), out=out)
    if view.flip_x or view.flip_y:
        axis = -1 if view.flip_x and view.flip_y else int(view.flip_x)
        np.copyto(out, cv2.flip(out, axis).reshape(out.shape))


def transform_boxes(
    view: View, boxes: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """
    Find boxes of an image in the network input.

    :param view: what is shown.
    :param boxes: ``(N, 4)`` xyxy, pixels of the image.
    :return: ``(N, 4)`` xyxy, pixels of the network input, cut at the edges of what is shown; and
        the part of each that is shown, ``(N,)`` in [0, 1].
    """
    x1, y1, x2, y2 = view.window
    left, top, right, bottom = view.place
    whole = np.asarray(boxes, np.float64).reshape(-1, 4)
    seen = np.clip(whole, (x1, y1, x1, y1), (x2, y2, x2, y2))
    area, shown = boxes_of.box_area(whole), boxes_of.box_area(seen)
    visible = np.divide(shown, area, out=np.zeros_like(area), where=area > 0)
    scale = np.array(((right - left) / (x2 - x1), (bottom - top) / (y2 - y1)) * 2)
    placed = (seen - (x1, y1, x1, y1)) * scale + (left, top, left, top)
    if view.flip_x:
        placed[:, [2, 0]] = left + right - placed[:, [0, 2]]
    if view.flip_y:
        placed[:, [3, 1]] = top + bottom - placed[:, [1, 3]]
    return np.clip(placed, (left, top, left, top), (right, bottom, right, bottom)), visible
