"""Image files that are corrupt, or that announce more than they hold."""

from functools import lru_cache
import struct
import zlib

import cv2
from fuzzing import corrupt_bytes, fuzz_settings, refusal
from hypothesis import given
from hypothesis import strategies as st
from mnssd_perception.image_file import decode_image, read_image_size
import numpy as np
import pytest

HEIGHT, WIDTH = 48, 64
SUFFIXES = ('.png', '.jpg', '.webp', '.bmp', '.tiff', '.pgm')


@lru_cache
def image_file(suffix: str, dtype: str = 'u1') -> bytes:
    image = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)).astype(dtype) * 2
    return cv2.imencode(suffix, image)[1].tobytes()


def read(content: bytes, is_valid: bool) -> None:
    image = decode_image(content, 'image_7')
    assert (image.dtype, image.shape[2:]) == (np.uint8, (3,))
    if is_valid:
        assert image.shape == (HEIGHT, WIDTH, 3)
        assert read_image_size(content, 'image_7') == (WIDTH, HEIGHT)


def refuses(content: bytes, *, is_valid: bool = False) -> str:
    return refusal(read, content, is_valid, names=['image_7'])


@pytest.mark.parametrize('dtype', ['u1', 'u2'])
@pytest.mark.parametrize('suffix', SUFFIXES)
def test_valid_image_is_accepted(suffix: str, dtype: str) -> None:
    content = image_file(suffix, 'u1' if suffix in ('.jpg', '.webp', '.bmp') else dtype)
    assert not refuses(content, is_valid=True)


@pytest.mark.parametrize('suffix', SUFFIXES)
@fuzz_settings()
@given(data=st.data())
def test_corrupt_image_is_refused_or_decoded(suffix: str, data: st.DataObject) -> None:
    refuses(data.draw(corrupt_bytes(image_file(suffix))))


@fuzz_settings()
@given(keep=st.floats(0, 0.5), suffix=st.sampled_from(SUFFIXES))
def test_half_an_image_is_refused(keep: float, suffix: str) -> None:
    content = image_file(suffix)
    assert refuses(content[: int(keep * len(content))])


@fuzz_settings()
@given(content=st.binary(max_size=200))
def test_other_bytes_are_refused(content: bytes) -> None:
    assert refuses(content)


@pytest.mark.parametrize(
    'size', [(60_000, 60_000), (1 << 30, 1), (0, 5), (0x7FFFFFFF, 0x7FFFFFFF)]
)
def test_image_that_announces_too_much_is_refused(size: tuple[int, int]) -> None:
    content = image_file('.png')
    header = b'IHDR' + struct.pack('>II', *size) + content[24:29]
    assert refuses(content[:12] + header + struct.pack('>I', zlib.crc32(header)) + content[33:])
