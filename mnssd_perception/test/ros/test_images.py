"""Tests of the conversion of images."""

import array

import cv2
from hypothesis import given, settings, strategies
from mnssd_perception.encodings import ENCODINGS, image_view
from mnssd_perception.errors import ImageError
from mnssd_perception.thermal import to_8bit
import numpy as np
import pytest

pytest.importorskip('rclpy')

from mnssd_perception.ros.images import from_array, from_bgr, to_bgr, to_rgb
from sensor_msgs.msg import Image
from std_msgs.msg import Header

pytestmark = pytest.mark.ros

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
GREY = COLOURS[..., 0].copy()


def message(pixels, encoding, padding=0, /, **changes):
    """Make a message of an array, with padding at the end of each row."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    msg = Image(height=len(rows), width=pixels.shape[1], encoding=encoding, step=rows.shape[1])
    msg.data = array.array('B', rows.tobytes())
    for name, value in changes.items():
        setattr(msg, name, value)
    return msg


def test_empty_message_is_an_error():
    for read in (to_rgb, to_bgr, image_view):
        with pytest.raises(ImageError):
            read(Image())


def alpha(image):
    return np.dstack([image, np.full(image.shape[:2], 50, np.uint8)])


@pytest.mark.parametrize('padding', [0, 1, 5])
@pytest.mark.parametrize(
    ('encoding', 'pixels', 'expected'),
    [
        ('rgb8', COLOURS, COLOURS),
        ('bgr8', COLOURS[..., ::-1], COLOURS),
        ('8UC3', COLOURS[..., ::-1], COLOURS),
        ('rgba8', alpha(COLOURS), COLOURS),
        ('bgra8', alpha(COLOURS[..., ::-1]), COLOURS),
        ('8UC4', alpha(COLOURS[..., ::-1]), COLOURS),
        ('mono8', GREY, np.dstack([GREY] * 3)),
        ('8UC1', GREY, np.dstack([GREY] * 3)),
    ],
)
def test_encodings_are_converted_exactly(encoding, pixels, expected, padding):
    msg = message(pixels, encoding, padding)
    np.testing.assert_array_equal(to_rgb(msg), expected)
    np.testing.assert_array_equal(to_bgr(msg), expected[..., ::-1])


@pytest.mark.parametrize('encoding', ['mono16', '16UC1'])
@pytest.mark.parametrize('padding', [0, 2, 3])
def test_thermal_images_of_both_byte_orders_are_stretched(encoding, padding):
    greys = np.linspace(29000, 29300, 48).astype(np.uint16).reshape(6, 8)
    little = to_rgb(message(greys.astype('<u2'), encoding, padding, is_bigendian=0))
    big = to_rgb(message(greys.astype('>u2'), encoding, padding, is_bigendian=1))
    np.testing.assert_array_equal(little, big)
    assert little.shape == (6, 8, 3)
    assert (little.min(), little.max()) == (0, 255)


def bayer(pattern):
    """Mosaic an image that is red (200, 100, 50) everywhere."""
    levels = {'r': 200, 'g': 100, 'b': 50}
    tile = np.array([levels[colour] for colour in pattern], np.uint8).reshape(2, 2)
    return np.tile(tile, (4, 4))


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize('padding', [0, 3])
def test_bayer_patterns_are_demosaiced(pattern, padding):
    image = to_rgb(message(bayer(pattern), f'bayer_{pattern}8', padding))
    np.testing.assert_array_equal(image, np.broadcast_to((200, 100, 50), (8, 8, 3)))


@pytest.mark.parametrize('padding', [0, 4])
@pytest.mark.parametrize(
    ('encoding', 'order'),
    [('yuv422', 'uyvy'), ('uyvy', 'uyvy'), ('yuv422_yuy2', 'yuyv'), ('yuyv', 'yuyv')],
)
def test_packed_yuv_is_converted(encoding, order, padding):
    values = {'y': 81, 'u': 90, 'v': 240}  # red in ITU-R BT.601
    pair = np.array([values[letter] for letter in order], np.uint8).reshape(1, 2, 2)
    image = to_rgb(message(np.tile(pair, (4, 3, 1)), encoding, padding))
    assert image.shape == (4, 6, 3)
    np.testing.assert_allclose(image, np.broadcast_to((254, 0, 0), image.shape), atol=3)


def test_every_encoding_is_read():
    for name, encoding in ENCODINGS.items():
        pixels = np.zeros((2, 4, encoding.num_channels), encoding.dtype)
        assert to_rgb(message(pixels, name)).shape == (2, 4, 3)


def test_rgb_data_are_not_copied():
    msg = message(COLOURS, 'rgb8', 2)
    image = to_rgb(msg)
    assert np.shares_memory(image, np.frombuffer(msg.data, np.uint8))
    assert not image.flags.writeable


@pytest.mark.parametrize(
    ('changes', 'word'),
    [
        ({'encoding': ''}, 'encoding'),
        ({'encoding': 'h264'}, 'h264'),
        ({'encoding': 'RGB8'}, 'RGB8'),
        ({'height': 0}, '8x0'),
        ({'width': 0}, '0x6'),
        ({'height': 5}, 'data'),
        ({'height': 2**32 - 1}, 'pixels'),
        ({'width': 9}, 'step'),
        ({'width': 2**32 - 1}, 'pixels'),
        ({'step': 0}, 'step'),
        ({'step': 23}, 'step'),
        ({'step': 25}, 'data'),
        ({'step': 2**32 - 1}, 'data'),
        ({'data': array.array('B')}, 'data'),
        ({'encoding': 'rgba8'}, 'step'),
        ({'encoding': 'yuyv', 'width': 7}, 'even'),
        ({'encoding': 'bayer_rggb8', 'width': 7}, 'even'),
    ],
)
def test_malformed_messages_are_refused(changes, word):
    msg = message(COLOURS, 'rgb8', **changes)
    for read in (to_rgb, to_bgr, image_view):
        with pytest.raises(ImageError, match=word):
            read(msg)


SIDES = strategies.one_of(strategies.integers(0, 12), strategies.integers(0, 2**32 - 1))


@strategies.composite
def messages(draw):
    """Make messages of which many nearly fit together, and some do."""
    names = strategies.one_of(
        strategies.sampled_from(sorted(ENCODINGS)), strategies.text(max_size=9)
    )
    msg = Image(height=draw(SIDES), width=draw(SIDES), encoding=draw(names))
    fitting = msg.width * draw(strategies.sampled_from([1, 2, 3, 4])) + draw(
        strategies.integers(0, 2)
    )
    msg.step = min(fitting, 2**32 - 1) if draw(strategies.booleans()) else draw(SIDES)
    msg.is_bigendian = draw(strategies.integers(0, 255))
    length = msg.height * msg.step
    if length > 4096 or draw(strategies.integers(0, 4)) == 0:
        data = draw(strategies.binary(max_size=64))
    else:
        seed = draw(strategies.integers(0, 9))
        data = np.random.default_rng(seed).integers(0, 256, length, np.uint8).tobytes()
    msg.data = array.array('B', data)
    return msg


@settings(deadline=None)
@given(messages())
def test_any_message_is_an_image_or_an_image_error(msg):
    try:
        image = to_rgb(msg)
    except ImageError:
        return
    assert image.shape == (msg.height, msg.width, 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(to_bgr(msg), image[..., ::-1])


@settings(deadline=None)
@given(strategies.integers(1, 9), strategies.integers(1, 9), strategies.booleans())
def test_images_survive_a_round_trip(height, width, flipped):
    image = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)
    image = image[:, ::-1] if flipped else image
    header = Header(frame_id='camera')
    for encoding, expected in (('rgb8', image), ('bgr8', image[..., ::-1])):
        msg = from_array(image, encoding, header)
        assert msg.header is header
        assert len(msg.data) == msg.height * msg.step
        np.testing.assert_array_equal(to_rgb(msg), expected)


@pytest.mark.parametrize('encoding', ['', 'bgr8', 'rgb8', 'mono8'])
def test_from_bgr_converts_to_the_encoding(encoding):
    msg = from_bgr(COLOURS[..., ::-1], Header(), encoding)
    assert msg.encoding == (encoding or 'bgr8')
    expected = COLOURS
    if encoding == 'mono8':
        expected = np.dstack([cv2.cvtColor(COLOURS, cv2.COLOR_RGB2GRAY)] * 3)
    np.testing.assert_array_equal(to_rgb(msg), expected)
    msg = from_bgr(GREY, Header(), encoding)
    assert msg.encoding == (encoding or 'mono8')
    np.testing.assert_array_equal(to_rgb(msg), np.dstack([GREY] * 3))
    thermal = 20000 + 16 * GREY.astype(np.uint16)
    msg = from_bgr(thermal, Header(), encoding)
    assert msg.encoding == (encoding or 'mono16')
    np.testing.assert_array_equal(to_rgb(msg), np.dstack([to_8bit(thermal)] * 3))
