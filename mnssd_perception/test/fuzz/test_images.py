"""Image files that are damaged, or that announce more than they hold."""

from functools import lru_cache
import struct
from typing import Any
import zlib

import cv2
from fuzz_strategies import attempt, damaged_bytes, fuzz_settings, REFUSED
from hypothesis import given
from hypothesis import strategies as st
from mnssd_perception.image_file import decode_image, read_image_size
import numpy as np
from numpy.typing import NDArray
import pytest

HEIGHT, WIDTH = 48, 64
SUFFIXES = ('.png', '.jpg', '.webp', '.bmp', '.tiff', '.pgm')


@lru_cache
def image_file(suffix: str, dtype: str = 'u1') -> bytes:
    image = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)).astype(dtype) * 2
    return cv2.imencode(suffix, image)[1].tobytes()


def decode(content: bytes) -> Any:
    return attempt(lambda: decode_image(content, 'image_7'), ['image_7'])


def is_rgb(image: NDArray[np.uint8]) -> bool:
    return image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


@pytest.mark.parametrize('dtype', ['u1', 'u2'])
@pytest.mark.parametrize('suffix', SUFFIXES)
def test_sound_image_is_accepted(suffix: str, dtype: str) -> None:
    content = image_file(suffix, 'u1' if suffix in ('.jpg', '.webp', '.bmp') else dtype)
    image = decode(content)
    assert image is not REFUSED
    assert is_rgb(image)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert read_image_size(content, 'image_7') == (WIDTH, HEIGHT)


@pytest.mark.parametrize('suffix', SUFFIXES)
@fuzz_settings()
@given(data=st.data())
def test_damaged_image_is_refused_or_decoded(suffix: str, data: st.DataObject) -> None:
    image = decode(data.draw(damaged_bytes(image_file(suffix))))
    assert image is REFUSED or is_rgb(image)


@fuzz_settings()
@given(keep=st.floats(0, 0.5), suffix=st.sampled_from(SUFFIXES))
def test_half_an_image_is_refused(keep: float, suffix: str) -> None:
    content = image_file(suffix)
    assert decode(content[: int(keep * len(content))]) is REFUSED


@fuzz_settings()
@given(content=st.binary(max_size=200))
def test_other_bytes_are_refused(content: bytes) -> None:
    assert decode(content) is REFUSED


@pytest.mark.parametrize(
    'size', [(60_000, 60_000), (1 << 30, 1), (0, 5), (0x7FFFFFFF, 0x7FFFFFFF)]
)
def test_image_that_announces_too_much_is_refused(size: tuple[int, int]) -> None:
    content = image_file('.png')
    header = b'IHDR' + struct.pack('>II', *size) + content[24:29]
    forged = content[:12] + header + struct.pack('>I', zlib.crc32(header)) + content[33:]
    assert decode(forged) is REFUSED
