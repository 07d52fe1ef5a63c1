"""
Crop an image, resize the crop and flip it into a region of the network input.

Every geometric augmentation ends up as one such mapping, for pixels and boxes alike: pixels are
resampled once, and boxes cannot drift from them.
"""

from dataclasses import dataclass, replace
from typing import Literal

import cv2
from mnssd_perception.ssd import boxes as box_ops
from mnssd_perception.ssd import resize_frame, resize_transform, ResizeTransform
import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]  # xyxy, pixels
PixelBox = tuple[int, int, int, int]  # xyxy, whole pixels


@dataclass(frozen=True)
class ResizedCrop:
    """
    The part of an image that is shown, and where.

    :ivar source: xyxy, whole pixels of the image and inside it.
    :ivar target: xyxy, whole pixels of the network input.
    """

    source: PixelBox
    target: PixelBox
    flip_x: bool = False
    flip_y: bool = False


def map_crop(image_size: tuple[int, int], crop: Box, region: PixelBox) -> ResizedCrop:
    """
    Map a crop to a region of the network input.

    The part of the crop outside the image leaves its part of the region free. Both ends are whole
    pixels, and the mapping is exact between them: it is off the requested crop by at most half a
    pixel.

    :param image_size: (height, width).
    :param crop: xyxy, pixels of the image; it may reach beyond the image on every side.
    :param region: xyxy, pixels of the network input.
    """
    x1, x2, left, right = _map_axis(image_size[1], crop[0::2], region[0::2])
    y1, y2, top, bottom = _map_axis(image_size[0], crop[1::2], region[1::2])
    return ResizedCrop((x1, y1, x2, y2), (left, top, right, bottom))


def _map_axis(side: int, crop: tuple[float, ...], region: tuple[int, ...]) -> PixelBox:
    """Clip a crop to the image along one axis, and map what remains to the region."""
    (low, high), (first, last) = crop, region
    scale = (last - first) / (high - low)
    inner_low, inner_high = min(max(low, 0), side), min(max(high, 0), side)
    start = min(round(inner_low), side - 1)
    stop = max(round(inner_high), start + 1)
    target_start = min(max(round(first + (inner_low - low) * scale), first), last - 1)
    target_stop = min(max(round(first + (inner_high - low) * scale), target_start + 1), last)
    return start, stop, target_start, target_stop


def content_region(
    crop: Box, input_size: tuple[int, int], mode: Literal['stretch', 'letterbox']
) -> PixelBox:
    """
    Return the region of the network input that the drone would resize an image to.

    :param crop: xyxy, pixels; stands for an image of its size.
    :param input_size: (height, width).
    """
    height, width = (max(1, round(crop[i + 2] - crop[i])) for i in (1, 0))
    transform = resize_transform((height, width), input_size, mode)
    (top, left), (height, width) = transform.origin, transform.content_size
    return left, top, left + width, top + height


def flip_in_region(
    crop: ResizedCrop, region: PixelBox, *, flip_x: bool = False, flip_y: bool = False
) -> ResizedCrop:
    """Flip a region together with the crop in it."""
    left, top, right, bottom = crop.target
    if flip_x:
        left, right = region[0] + region[2] - right, region[0] + region[2] - left
    if flip_y:
        top, bottom = region[1] + region[3] - bottom, region[1] + region[3] - top
    return replace(
        crop,
        target=(left, top, right, bottom),
        flip_x=crop.flip_x ^ flip_x,
        flip_y=crop.flip_y ^ flip_y,
    )


def paste_crop(crop: ResizedCrop, image: NDArray[np.uint8], canvas: NDArray[np.uint8]) -> None:
    """Write the crop of an image into the network input ``canvas``, both ``(H, W, 3)`` uint8."""
    x1, y1, x2, y2 = crop.source
    left, top, right, bottom = crop.target
    content, out = image[y1:y2, x1:x2], canvas[top:bottom, left:right]
    size = (bottom - top, right - left)
    resize_frame(content, ResizeTransform(size, size, (0, 0), (y2 - y1, x2 - x1)), out=out)
    if crop.flip_x or crop.flip_y:
        axis = -1 if crop.flip_x and crop.flip_y else int(crop.flip_x)
        np.copyto(out, cv2.flip(out, axis).reshape(out.shape))


def transform_boxes(
    crop: ResizedCrop, boxes: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """
    Clip boxes to the crop and map them to the network input.

    :param boxes: ``(N, 4)`` xyxy, pixels of the image.
    :return: ``(N, 4)`` xyxy, pixels of the network input; and the fraction of the area of each
        box that is inside the crop, ``(N,)``.
    """
    x1, y1, x2, y2 = crop.source
    left, top, right, bottom = crop.target
    full = np.asarray(boxes, np.float64).reshape(-1, 4)
    clipped = np.clip(full, (x1, y1, x1, y1), (x2, y2, x2, y2))
    area, visible_area = box_ops.box_area(full), box_ops.box_area(clipped)
    visibility = np.divide(visible_area, area, out=np.zeros_like(area), where=area > 0)
    scale = np.array(((right - left) / (x2 - x1), (bottom - top) / (y2 - y1)) * 2)
    mapped = (clipped - (x1, y1, x1, y1)) * scale + (left, top, left, top)
    if crop.flip_x:
        mapped[:, [2, 0]] = left + right - mapped[:, [0, 2]]
    if crop.flip_y:
        mapped[:, [3, 1]] = top + bottom - mapped[:, [1, 3]]
    return np.clip(mapped, (left, top, left, top), (right, bottom, right, bottom)), visibility
