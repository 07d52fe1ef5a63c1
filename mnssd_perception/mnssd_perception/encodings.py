"""
Convert image messages and camera images to RGB arrays, without ROS.

Live messages and those of a bag are different classes with the same fields; both are read here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
from mnssd_perception.errors import ImageError
from mnssd_perception.ssd.spec import MAX_IMAGE_SIDE
from mnssd_perception.text import sanitize_text
from mnssd_perception.thermal import to_8bit
import numpy as np
from numpy.typing import NDArray

# Half as much again as the largest drone camera takes (45 Mpx); 0.2 GB of RGB. Larger images are
# scaled or tiled before anybody looks for objects of some pixels in them.
MAX_PIXELS = 2**26


class ImageMessage(Protocol):
    """The fields of sensor_msgs/Image that hold pixels."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


Convert = Callable[[NDArray], NDArray[np.uint8]]


@dataclass(frozen=True)
class Encoding:
    """
    The memory layout of an encoding, and its conversion to RGB.

    :ivar convert: from the view of the pixels to ``(H, W, 3)`` uint8 RGB.
    :ivar dtype: of one value, without its byte order.
    :ivar even: whether the sides must be even, because neighbours share colours.
    """

    convert: Convert
    num_channels: int = 3
    dtype: str = 'u1'
    even: bool = False


def _colours(code: int) -> Convert:
    def convert_colours(view: NDArray) -> NDArray[np.uint8]:
        if view.shape[:2] == (1, 1):  # OpenCV 4.5 takes a single pixel for something else
            return cv2.cvtColor(np.repeat(view, 2, axis=1), code)[:, :1]
        return cv2.cvtColor(view, code)

    return convert_colours


_BGR = Encoding(_colours(cv2.COLOR_BGR2RGB))
_BGRA = Encoding(_colours(cv2.COLOR_BGRA2RGB), 4)
_GREY = Encoding(_colours(cv2.COLOR_GRAY2RGB), 1)
_THERMAL = Encoding(lambda view: _GREY.convert(to_8bit(view)), 1, 'u2')
_UYVY = Encoding(_colours(cv2.COLOR_YUV2RGB_UYVY), 2, even=True)
_YUY2 = Encoding(_colours(cv2.COLOR_YUV2RGB_YUY2), 2, even=True)

# OpenCV names a Bayer pattern by the second and third pixel of the second row, ROS by the first
# two rows: rggb is BG.
ENCODINGS = {
    'bgr8': _BGR,
    'rgb8': Encoding(lambda view: view),
    'mono8': _GREY,
    'bgra8': _BGRA,
    'rgba8': Encoding(_colours(cv2.COLOR_RGBA2RGB), 4),
    'mono16': _THERMAL,
    '8UC1': _GREY,
    '8UC3': _BGR,
    '8UC4': _BGRA,
    '16UC1': _THERMAL,
    'yuv422': _UYVY,
    'uyvy': _UYVY,
    'yuv422_yuy2': _YUY2,
    'yuyv': _YUY2,
    'bayer_rggb8': Encoding(_colours(cv2.COLOR_BayerBG2RGB), 1, even=True),
    'bayer_bggr8': Encoding(_colours(cv2.COLOR_BayerRG2RGB), 1, even=True),
    'bayer_gbrg8': Encoding(_colours(cv2.COLOR_BayerGR2RGB), 1, even=True),
    'bayer_grbg8': Encoding(_colours(cv2.COLOR_BayerGB2RGB), 1, even=True),
}


def image_view(msg: ImageMessage) -> NDArray:
    """
    View the pixels of a message without copying them.

    :param msg: in one of :data:`ENCODINGS`.
    :return: ``(H, W, C)``, or ``(H, W)`` where C is 1, read-only, in the encoding and byte order
        of the message; it lives as long as the data of the message.
    :raises ImageError: if the encoding is not supported, or size, step and data contradict each
        other.
    """
    encoding = ENCODINGS.get(msg.encoding)
    if encoding is None:
        raise ImageError(
            f"unknown image encoding '{shown_encoding(msg)}'; supported are "
            f'{", ".join(ENCODINGS)}; install cv_bridge for more'
        )
    _check_layout(msg, encoding)
    dtype = np.dtype(encoding.dtype).newbyteorder('>' if msg.is_bigendian else '<')
    shape: tuple[int, ...] = (msg.height, msg.width)
    strides: tuple[int, ...] = (msg.step, encoding.num_channels * dtype.itemsize)
    if encoding.num_channels > 1:
        shape, strides = (*shape, encoding.num_channels), (*strides, dtype.itemsize)
    view = np.ndarray(shape, dtype, msg.data, strides=strides)
    view.flags.writeable = False
    return view


def convert(msg: ImageMessage) -> NDArray[np.uint8]:
    """
    Convert the image of a message.

    The data are not copied where they are RGB already. Grey of 16 bits, as thermal cameras send
    it, is stretched to 8 bits image by image, see :func:`mnssd_perception.thermal.to_8bit`.

    :return: ``(H, W, 3)`` uint8 RGB, possibly read-only.
    :raises ImageError: see :func:`image_view`.
    """
    view = image_view(msg)
    try:
        return ENCODINGS[msg.encoding].convert(view)
    except cv2.error as error:
        raise ImageError(f"cannot convert a '{msg.encoding}' image: {error.err}") from error


def array_to_rgb(image: NDArray) -> NDArray[np.uint8]:
    """
    Convert the image of a camera or a file as :func:`convert` converts one of a message.

    :param image: ``(H, W, 3)`` uint8 BGR, or ``(H, W)`` grey, uint8 or uint16.
    :return: ``(H, W, 3)`` uint8 RGB.
    """
    return ENCODINGS[array_encoding(image)].convert(image)


def array_encoding(image: NDArray) -> str:
    """Name the encoding of an image, see :func:`array_to_rgb`: bgr8, mono8 or mono16."""
    if image.ndim == 3:
        return 'bgr8'
    return 'mono16' if image.dtype.itemsize == 2 else 'mono8'


def shown_encoding(msg: ImageMessage) -> str:
    """Make the encoding of a message safe to show; it can be a megabyte of escapes."""
    return sanitize_text(msg.encoding, max_chars=40)


def _check_layout(msg: ImageMessage, encoding: Encoding) -> None:
    """Refuse a message whose size, step and data contradict each other."""
    height, width, length = msg.height, msg.width, len(msg.data)
    if not (0 < height <= MAX_IMAGE_SIDE and 0 < width <= MAX_IMAGE_SIDE):
        raise ImageError(
            f'expected an image of 1 to {MAX_IMAGE_SIDE} pixels a side, got {width}x{height}'
        )
    if width * height > MAX_PIXELS:
        raise ImageError(f'expected an image of at most {MAX_PIXELS} pixels, got {width}x{height}')
    if encoding.even and (height % 2 or width % 2):
        raise ImageError(f"expected even sides for '{msg.encoding}', got {width}x{height}")
    row = width * encoding.num_channels * np.dtype(encoding.dtype).itemsize
    if msg.step < row:
        raise ImageError(
            f"expected a step of at least {row} bytes for {width} pixels of '{msg.encoding}', "
            f'got {msg.step}'
        )
    if length != height * msg.step:
        raise ImageError(
            f'expected {height * msg.step} bytes of data ({height} rows of {msg.step}), '
            f'got {length}'
        )
