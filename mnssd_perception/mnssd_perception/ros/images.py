"""sensor_msgs/Image to arrays and back."""

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
    Read the image of a message.

    The data are not copied where they are RGB already. Grey of 16 bits, as thermal cameras send
    it, is stretched to 8 bits image by image, see :func:`mnssd_perception.thermal.to_8bit`.

    :param msg: the message; encodings beyond :data:`ENCODINGS` need cv_bridge.
    :return: ``(H, W, 3)`` uint8 RGB, possibly read-only.
    :raises ImageError: when the message is malformed or its encoding cannot be read here.
    """
    if msg.encoding and msg.encoding not in ENCODINGS:
        bridged = _through_cv_bridge(msg)
        if bridged is not None:
            return bridged
    return convert(msg)


def to_bgr(msg: Image) -> NDArray[np.uint8]:
    """
    Read the image of a message for OpenCV.

    :param msg: as for :func:`to_rgb`.
    :return: ``(H, W, 3)`` uint8 BGR, a copy.
    :raises ImageError: as :func:`to_rgb` does.
    """
    return ENCODINGS['bgr8'].convert(to_rgb(msg))  # the same swap in both directions


def from_array(image: NDArray, encoding: str, header: Header) -> Image:
    """
    Make a message of an image.

    :param image: ``(H, W, 3)`` uint8 or ``(H, W)`` uint8 or uint16, in the order that the
        encoding says.
    :param encoding: for example ``rgb8``.
    :param header: is put in as it is, not copied.
    :return: the message, with a copy of the pixels.
    """
    data = array.array('B')
    # The only quick way in: assigning an array or bytes checks every value in Python.
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
    Make a message of a camera's image.

    :param image: ``(H, W, 3)`` BGR uint8, or ``(H, W)`` grey, uint8 or uint16.
    :param header: is put in as it is, not copied.
    :param encoding: ``bgr8``, ``rgb8``, ``mono8``, or empty for the one that the image has, which
        is ``mono16`` for 16 bits; these are stretched to 8 bits where 8 are asked for.
    :return: the message.
    """
    own = array_encoding(image)
    if own == 'mono16' and encoding:
        image, own = to_8bit(image), 'mono8'
    if encoding not in ('', own):
        conversions = {
            'bgr8': cv2.COLOR_GRAY2BGR,
            'rgb8': cv2.COLOR_GRAY2RGB if own == 'mono8' else cv2.COLOR_BGR2RGB,
            'mono8': cv2.COLOR_BGR2GRAY,
        }
        return from_array(cv2.cvtColor(image, conversions[encoding]), encoding, header)
    return from_array(image, own, header)


def _through_cv_bridge(msg: Image) -> NDArray[np.uint8] | None:
    """Convert with cv_bridge, or return None where it is missing or broken."""
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
