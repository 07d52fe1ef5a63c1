"""
Frames to network inputs, and boxes of the network back to the frame.

The only place in mnssd that resizes for a network: the drone, training and evaluation share it.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
from mnssd_perception.errors import ImageError
import numpy as np
from numpy.typing import NDArray

# Grey of the padding, mid-range so that it is nearly zero after normalisation.
PADDING = 114


@dataclass(frozen=True)
class ResizeTransform:
    """
    How a frame lies in the network input, pixels of the input.

    :ivar input_size: (height, width) of the network input.
    :ivar content_size: (height, width) that the frame covers.
    :ivar origin: (y, x) of its upper left corner.
    :ivar source_size: (height, width) of the frame.
    """

    input_size: tuple[int, int]
    content_size: tuple[int, int]
    origin: tuple[int, int]
    source_size: tuple[int, int]

    def to_source(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """
        Bring boxes of the network back to the frame.

        :param boxes: ``(N, 4)`` xyxy, fractions of the network input.
        :return: ``(N, 4)`` float32 xyxy, pixels of the frame, cut at its edges.
        """
        scale, shift = self._to_input()
        size = np.array(self.source_size[::-1] * 2, np.float32)
        return np.clip((boxes - shift) / scale, 0, size)

    def to_input(self, boxes: NDArray[np.floating]) -> NDArray[np.float32]:
        """
        Bring boxes of the frame to the network.

        :param boxes: ``(N, 4)`` xyxy, pixels of the frame.
        :return: ``(N, 4)`` float32 xyxy, fractions of the network input.
        """
        scale, shift = self._to_input()
        return (boxes * scale + shift).astype(np.float32)

    def _to_input(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Make the scale and the shift from pixels of the frame to fractions of the input."""
        content, origin, source, size = (
            np.array(pair[::-1] * 2, np.float64)
            for pair in (self.content_size, self.origin, self.source_size, self.input_size)
        )
        scale = content / source / size
        return scale.astype(np.float32), (origin / size).astype(np.float32)


def resize_transform(
    source_size: tuple[int, int],
    input_size: tuple[int, int],
    mode: Literal['stretch', 'letterbox'],
) -> ResizeTransform:
    """
    Plan how a frame is brought to the size of the network input.

    :param source_size: (height, width) of the frame.
    :param input_size: (height, width) of the network input.
    :param mode: ``stretch`` fills the input, ``letterbox`` keeps the aspect and pads.
    :return: the plan.
    """
    if mode == 'stretch':
        return ResizeTransform(input_size, input_size, (0, 0), source_size)
    height, width = fit_size(source_size, input_size)
    origin = ((input_size[0] - height) // 2, (input_size[1] - width) // 2)
    return ResizeTransform(input_size, (height, width), origin, source_size)


def fit_size(size: tuple[int, int], limits: tuple[int, int]) -> tuple[int, int]:
    """
    Scale a size until it fills a box in one direction, with its aspect kept.

    :param size: (height, width).
    :param limits: (height, width) of the box.
    :return: (height, width), from 1 to the limits.
    """
    scale = min(limit / side for limit, side in zip(limits, size))
    height, width = (min(limit, max(1, round(side * scale))) for side, limit in zip(size, limits))
    return height, width


def resize_frame(
    image: NDArray[np.uint8], plan: ResizeTransform, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """
    Bring a frame to the size of the network input.

    :param image: ``(height, width, 3)`` uint8 of the plan's source size.
    :param plan: where the frame goes.
    :param out: a kept ``(height, width, 3)`` uint8 buffer of the plan's input size; it is written
        and returned.
    :return: ``(height, width, 3)`` uint8 of the plan's input size.
    :raises ImageError: if OpenCV cannot read the array, as with rows that overlap in memory.
    """
    if out is None:
        out = np.empty((*plan.input_size, 3), np.uint8)
    if plan.source_size == plan.input_size:
        np.copyto(out, image)
        return out
    top, left = plan.origin
    height, width = plan.content_size
    if plan.content_size != plan.input_size:
        out[:top] = out[top + height :] = PADDING
        out[:, :left] = out[:, left + width :] = PADDING
    content = out[top : top + height, left : left + width]
    try:
        resize_image(image, plan.content_size, content)
    except cv2.error as error:
        raise ImageError(f'cannot resize an image of shape {image.shape}: {error}') from error
    return out


def resize_image(
    image: NDArray[np.uint8], size: tuple[int, int], out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """
    Resize without aliasing: halve while more than twice too large, then interpolate linearly.

    Halving averages 2 x 2 pixels, so that every pixel counts, several times faster than
    ``INTER_AREA``; ``docs/preprocessing.md`` has the times and what either scores.

    :param image: ``(H, W, 3)`` uint8.
    :param size: (height, width) of the result.
    :param out: written and returned, if given.
    :return: ``(height, width, 3)`` uint8.
    """
    while (half := _half(image.shape, size)) != image.shape[:2]:
        is_exact = all(after in (before, before / 2) for before, after in zip(image.shape, half))
        image = _interpolate(image, half, cv2.INTER_LINEAR if is_exact else cv2.INTER_AREA)
    return _interpolate(image, size, cv2.INTER_LINEAR, out)


def _half(shape: tuple[int, ...], target: tuple[int, int]) -> tuple[int, int]:
    """Halve the sides that are more than twice as long as they shall be."""
    height, width = (
        side // 2 if side > 2 * wanted else side for side, wanted in zip(shape, target)
    )
    return height, width


def _interpolate(
    image: NDArray[np.uint8],
    size: tuple[int, int],
    method: int,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Resize by a method of OpenCV, whose version 4.5 misreads an array of a single pixel."""
    if size == (1, 1) or image.shape[:2] == (1, 1):
        out = np.empty((*size, 3), np.uint8) if out is None else out
        out[:] = np.rint(image.mean(axis=(0, 1)))
        return out
    return cv2.resize(image, size[::-1], dst=out, interpolation=method)
