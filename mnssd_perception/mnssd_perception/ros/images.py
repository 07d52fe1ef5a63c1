"""Convert sensor_msgs/Image to arrays and back."""

import array
import sys

import cv2
from mnssd_perception.encodings import (
    array_encoding,
    convert,
    ENCODINGS,
    MAX_PIXELS,
    shown_encoding,
)
from mnssd_perception.errors import ImageError
from mnssd_perception.text import sanitize_text
from mnssd_perception.thermal import to_8bit
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header


def to_rgb(msg: Image) -> NDArray[np.uint8]:
    """
    Convert a message to an RGB image, without a copy where it is RGB already.

    16-bit grey, as thermal cameras send it, is stretched to 8 bits image by image, see
    :func:`mnssd_perception.thermal.to_8bit`. Encodings beyond :data:`ENCODINGS` need cv_bridge.

    :return: ``(H, W, 3)`` uint8 RGB, possibly read-only.
    :raises ImageError: when the message is malformed or its encoding is not supported here.
    """
    if msg.encoding and msg.encoding not in ENCODINGS:
        image = _convert_with_cv_bridge(msg)
        if image is not None:
            return image
    return convert(msg)


def to_bgr(msg: Image) -> NDArray[np.uint8]:
    """Convert a message, as :func:`to_rgb` does, to a copy in ``(H, W, 3)`` uint8 BGR."""
    return ENCODINGS['bgr8'].convert(to_rgb(msg))  # the same swap in both directions


def from_array(image: NDArray, encoding: str, header: Header) -> Image:
    """
    Make a message with a copy of the pixels; the header is referenced.

    :param image: ``(H, W, 3)`` uint8 or ``(H, W)`` uint8 or uint16, as the encoding says.
    """
    data = array.array('B')
    # The only fast way: assigning an array or bytes checks every value in Python.
    data.frombytes(np.ascontiguousarray(image).data.cast('B'))
    msg = Image(
        header=header,
        height=image.shape[0],
        width=image.shape[1],
        encoding=encoding,
        is_bigendian=int(sys.byteorder == 'big'),
        step=image[0].nbytes,
    )
    msg.data = data
    return msg


def from_bgr(image: NDArray, header: Header, encoding: str = '') -> Image:
    """
    Make a message from an image of a camera; the header is referenced.

    :param image: ``(H, W, 3)`` BGR uint8, or ``(H, W)`` grey, uint8 or uint16.
    :param encoding: ``bgr8``, ``rgb8``, ``mono8``, or empty for that of the image, which is
        ``mono16`` for 16 bits; these are stretched where an 8-bit encoding is requested.
    """
    source = array_encoding(image)
    if source == 'mono16' and encoding:
        image, source = to_8bit(image), 'mono8'
    if encoding in ('', source):
        return from_array(image, source, header)
    conversions = {
        'bgr8': cv2.COLOR_GRAY2BGR,
        'rgb8': cv2.COLOR_GRAY2RGB if source == 'mono8' else cv2.COLOR_BGR2RGB,
        'mono8': cv2.COLOR_BGR2GRAY,
    }
    return from_array(cv2.cvtColor(image, conversions[encoding]), encoding, header)


def _convert_with_cv_bridge(msg: Image) -> NDArray[np.uint8] | None:
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except (ImportError, AttributeError):  # AttributeError: built for NumPy 1, running on 2
        return None
    if msg.height * msg.step != len(msg.data) or not len(msg.data):
        raise ImageError(
            f'expected {msg.height} rows of {msg.step} bytes, got {len(msg.data)} bytes of data'
        )
    if msg.height * msg.width > MAX_PIXELS:
        raise ImageError(
            f'expected an image of at most {MAX_PIXELS} pixels, got {msg.width}x{msg.height}'
        )
    try:
        return CvBridge().imgmsg_to_cv2(msg, 'rgb8')
    except (CvBridgeError, cv2.error, TypeError, ValueError, KeyError) as error:
        raise ImageError(
            f"cv_bridge cannot read a '{shown_encoding(msg)}' image: {sanitize_text(error)}"
        ) from error
