"""Pixels of messages that are not ROS's own."""

from types import SimpleNamespace
from typing import Any

from mnssd_perception.encodings import convert, image_view
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


def test_data_may_be_bytes_or_an_array() -> None:
    of_array = message(COLOURS, 'bgr8')
    of_bytes = message(COLOURS, 'bgr8', data=COLOURS.tobytes())
    for one in (of_array, of_bytes):
        np.testing.assert_array_equal(convert(one), COLOURS[..., ::-1])
        assert not image_view(one).flags.writeable


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(ImageError, match="unknown image encoding 'jpeg2000'; known are bgr8"):
        convert(message(COLOURS, 'jpeg2000'))
