"""
Resize images for a network, and transform boxes between image and network input.

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
    How an image lies in the network input; it transforms ``(N, 4)`` xyxy boxes.

    :ivar input_size: (height, width) of the network input, pixels.
    :ivar content_size: (height, width) that the image covers there.
    :ivar origin: (y, x) of its upper left corner there.
    :ivar source_size: (height, width) of the image, pixels.
    """

    input_size: tuple[int, int]
    content_size: tuple[int, int]
    origin: tuple[int, int]
    source_size: tuple[int, int]

    def to_source(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform fractions of the network input to pixels of the image, clipped to it."""
        scale, shift = self._scale_and_shift()
        size = np.array(self.source_size[::-1] * 2, np.float32)
        return np.clip((boxes - shift) / scale, 0, size)

    def to_input(self, boxes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Transform pixels of the image to fractions of the network input."""
        scale, shift = self._scale_and_shift()
        return (boxes * scale + shift).astype(np.float32)

    def _scale_and_shift(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Compute the step from pixels of the image to fractions of the network input."""
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
    Plan how to resize an image of a (height, width) to that of the network input.

    :param mode: ``stretch`` fills the input, ``letterbox`` keeps the aspect and pads.
    """
    if mode == 'stretch':
        return ResizeTransform(input_size, input_size, (0, 0), source_size)
    height, width = fit_size(source_size, input_size)
    origin = ((input_size[0] - height) // 2, (input_size[1] - width) // 2)
    return ResizeTransform(input_size, (height, width), origin, source_size)


def fit_size(size: tuple[int, int], limits: tuple[int, int]) -> tuple[int, int]:
    """Scale a (height, width) to the largest one of its aspect within limits, at least 1."""
    scale = min(limit / side for limit, side in zip(limits, size))
    height, width = (min(limit, max(1, round(side * scale))) for side, limit in zip(size, limits))
    return height, width


def resize_frame(
    image: NDArray[np.uint8], transform: ResizeTransform, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """
    Resize an image to the network input.

    :param image: ``(H, W, 3)`` uint8 of the source size.
    :param out: a ``(height, width, 3)`` uint8 buffer of the input size, which is written and
        returned; None for a new one.
    :raises ImageError: if OpenCV cannot read the array, as with rows that overlap in memory.
    """
    if out is None:
        out = np.empty((*transform.input_size, 3), np.uint8)
    if transform.source_size == transform.input_size:
        np.copyto(out, image)
        return out
    top, left = transform.origin
    height, width = transform.content_size
    if transform.content_size != transform.input_size:
        out[:top] = out[top + height :] = PADDING
        out[:, :left] = out[:, left + width :] = PADDING
    content = out[top : top + height, left : left + width]
    try:
        resize_image(image, transform.content_size, content)
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
    :param out: see :func:`resize_frame`.
    """
    while (half := _halve(image.shape, size)) != image.shape[:2]:
        is_exact = all(after in (before, before / 2) for before, after in zip(image.shape, half))
        image = _interpolate(image, half, cv2.INTER_LINEAR if is_exact else cv2.INTER_AREA)
    return _interpolate(image, size, cv2.INTER_LINEAR, out)


def _halve(shape: tuple[int, ...], target: tuple[int, int]) -> tuple[int, int]:
    """Halve the sides that are more than twice as long as the target."""
    height, width = (side // 2 if side > 2 * limit else side for side, limit in zip(shape, target))
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
