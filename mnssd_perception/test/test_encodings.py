"""Pixels of messages that are not ROS's own."""

from types import SimpleNamespace
from typing import Any

from mnssd_perception.encodings import (
    array_encoding,
    array_to_rgb,
    convert,
    image_view,
    MAX_PIXELS,
)
from mnssd_perception.errors import ImageError
import numpy as np
import pytest

COLOURS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)


def message(pixels: np.ndarray, encoding: str, **changes: Any) -> Any:
    fields = {
        'height': pixels.shape[0],
        'width': pixels.shape[1],
        'encoding': encoding,
        'is_bigendian': 0,
        'step': pixels[0].nbytes if len(pixels) else 0,
        'data': np.frombuffer(pixels.tobytes(), np.uint8),
    }
    return SimpleNamespace(**fields | changes)


def test_an_empty_message() -> None:
    with pytest.raises(ImageError, match='expected an image of 1 to'):
        convert(message(np.zeros((0, 0, 3), np.uint8), 'rgb8'))


def test_an_image_of_one_pixel() -> None:
    pixel = np.array([[[1, 2, 3]]], np.uint8)
    np.testing.assert_array_equal(convert(message(pixel, 'bgr8')), [[[3, 2, 1]]])
    np.testing.assert_array_equal(convert(message(pixel[..., 0], 'mono8')), [[[1, 1, 1]]])
    np.testing.assert_array_equal(array_to_rgb(pixel), [[[3, 2, 1]]])


def test_large_images_are_refused_before_they_are_converted() -> None:
    # The data need not be there: had they been looked at, the message would be another.
    huge = message(COLOURS, 'mono16', height=20_000, width=5_000, step=10_000)
    with pytest.raises(ImageError, match=f'at most {MAX_PIXELS} pixels, got 5000x20000'):
        convert(huge)


def test_encodings_are_safe_to_show() -> None:
    forged = 'x\n[FATAL] all is lost\x1b[2J' + 'y' * 10**6
    with pytest.raises(ImageError) as caught:
        convert(message(COLOURS, forged))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    'image',
    [COLOURS, COLOURS[..., 0], (COLOURS[..., 0].astype(np.uint16) << 4) + 20000],
    ids=['bgr8', 'mono8', 'mono16'],
)
def test_arrays_and_messages_of_the_same_pixels_are_equal(image: np.ndarray) -> None:
    expected = convert(message(image, array_encoding(image)))
    np.testing.assert_array_equal(array_to_rgb(image), expected)


def test_data_may_be_bytes_or_an_array() -> None:
    of_array = message(COLOURS, 'bgr8')
    of_bytes = message(COLOURS, 'bgr8', data=COLOURS.tobytes())
    for one in (of_array, of_bytes):
        np.testing.assert_array_equal(convert(one), COLOURS[..., ::-1])
        assert not image_view(one).flags.writeable


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(ImageError, match="unknown image encoding 'jpeg2000'; supported are bgr8"):
        convert(message(COLOURS, 'jpeg2000'))
