"""sensor_msgs/Image to arrays and back."""

import array
from collections.abc import Callable
from dataclasses import dataclass

import cv2
from mnssd_perception.errors import ImageError
from mnssd_perception.thermal import to_8bit
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

__all__ = ['ENCODINGS', 'from_array', 'from_bgr', 'image_view', 'to_bgr', 'to_rgb']

# Above this side OpenCV's remapping overflows; no camera reaches it.
MAX_SIDE = 32766

Convert = Callable[[NDArray], NDArray[np.uint8]]


@dataclass(frozen=True)
class Encoding:
    """
    How pixels of an encoding lie in memory, and how they become RGB.

    :ivar convert: from the view of the pixels to ``(H, W, 3)`` uint8 RGB.
    :ivar num_channels: values a pixel.
    :ivar dtype: of one value, byte order aside.
    :ivar even: whether the sides must be even, as with colours shared by neighbours.
    """

    convert: Convert
    num_channels: int = 3
    dtype: str = 'u1'
    even: bool = False


def _colours(code: int) -> Convert:
    """Make the conversion that an OpenCV code stands for."""
    return lambda view: cv2.cvtColor(view, code)


def _thermal(view: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Stretch 16-bit grey to 8 bits."""
    return cv2.cvtColor(to_8bit(view), cv2.COLOR_GRAY2RGB)


_GREY = Encoding(_colours(cv2.COLOR_GRAY2RGB), 1)
_THERMAL = Encoding(_thermal, 1, 'u2')
_UYVY = Encoding(_colours(cv2.COLOR_YUV2RGB_UYVY), 2, even=True)
_YUY2 = Encoding(_colours(cv2.COLOR_YUV2RGB_YUY2), 2, even=True)

# OpenCV names a Bayer pattern by the second and third pixel of the second row, ROS by the first
# two rows: rggb is BG.
ENCODINGS = {
    'bgr8': Encoding(_colours(cv2.COLOR_BGR2RGB)),
    'rgb8': Encoding(lambda view: view),
    'mono8': _GREY,
    'bgra8': Encoding(_colours(cv2.COLOR_BGRA2RGB), 4),
    'rgba8': Encoding(_colours(cv2.COLOR_RGBA2RGB), 4),
    'mono16': _THERMAL,
    '8UC1': _GREY,
    '8UC3': Encoding(_colours(cv2.COLOR_BGR2RGB)),
    '8UC4': Encoding(_colours(cv2.COLOR_BGRA2RGB), 4),
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


def image_view(msg: Image) -> NDArray:
    """
    Look at the pixels of a message where they lie.

    :param msg: the message, in one of :data:`ENCODINGS`.
    :return: ``(H, W, C)``, or ``(H, W)`` where C is 1, read-only, in the message's own encoding
        and byte order; it lives as long as the data of the message.
    :raises ImageError: when the encoding is unknown, or size, step and data do not fit together.
    """
    encoding = ENCODINGS.get(msg.encoding)
    if encoding is None:
        known = ', '.join(ENCODINGS)
        raise ImageError(
            f"unknown image encoding '{msg.encoding}'; known are {known}; "
            'install cv_bridge for more'
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


def to_rgb(msg: Image) -> NDArray[np.uint8]:
    """
    Read the image of a message.

    The data are not copied where they are RGB already. Grey of 16 bits, as thermal cameras send
    it, is stretched to 8 bits image by image, see :func:`mnssd_perception.thermal.to_8bit`.

    :param msg: the message; encodings beyond :data:`ENCODINGS` need cv_bridge.
    :return: ``(H, W, 3)`` uint8 RGB, possibly read-only.
    :raises ImageError: when the message is malformed or its encoding cannot be read here.
    """
    encoding = ENCODINGS.get(msg.encoding)
    if encoding is None and msg.encoding:
        bridged = _through_cv_bridge(msg)
        if bridged is not None:
            return bridged
    view = image_view(msg)
    try:
        return ENCODINGS[msg.encoding].convert(view)
    except cv2.error as error:
        raise ImageError(f"cannot convert a '{msg.encoding}' image: {error.err}") from error


def to_bgr(msg: Image) -> NDArray[np.uint8]:
    """
    Read the image of a message for OpenCV.

    :param msg: as for :func:`to_rgb`.
    :return: ``(H, W, 3)`` uint8 BGR, a copy.
    :raises ImageError: as :func:`to_rgb` does.
    """
    return cv2.cvtColor(to_rgb(msg), cv2.COLOR_RGB2BGR)


def from_array(image: NDArray[np.uint8], encoding: str, header: Header) -> Image:
    """
    Make a message of an image.

    :param image: ``(H, W, 3)`` or ``(H, W)`` uint8, in the order that the encoding says.
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
        step=image[0].nbytes,
    )
    msg.data = data
    return msg


def from_bgr(image: NDArray[np.uint8], header: Header, encoding: str = '') -> Image:
    """
    Make a message of a camera's image.

    :param image: ``(H, W, 3)`` BGR or ``(H, W)`` grey, uint8.
    :param header: is put in as it is, not copied.
    :param encoding: ``bgr8``, ``rgb8``, ``mono8``, or empty for the one that the image has.
    :return: the message.
    """
    is_grey = image.ndim == 2
    own = 'mono8' if is_grey else 'bgr8'
    if encoding not in ('', own):
        conversions = {
            'bgr8': cv2.COLOR_GRAY2BGR,
            'rgb8': cv2.COLOR_GRAY2RGB if is_grey else cv2.COLOR_BGR2RGB,
            'mono8': cv2.COLOR_BGR2GRAY,
        }
        return from_array(cv2.cvtColor(image, conversions[encoding]), encoding, header)
    return from_array(image, own, header)


def _check_layout(msg: Image, encoding: Encoding) -> None:
    """Refuse a message whose numbers do not fit together."""
    height, width, length = msg.height, msg.width, len(msg.data)
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise ImageError(
            f'expected an image of 1 to {MAX_SIDE} pixels a side, got {width}x{height}'
        )
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
    try:
        return CvBridge().imgmsg_to_cv2(msg, 'rgb8')
    except (CvBridgeError, cv2.error, TypeError, ValueError, KeyError) as error:
        raise ImageError(f"cv_bridge cannot read a '{msg.encoding}' image: {error}") from error
