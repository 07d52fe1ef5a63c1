"""
Decode image files into uint8 RGB.

Every file reader of both packages decodes here, so that what is trained and scored on is what a
drone sees. Pillow reads headers, because OpenCV has no way to ask for the size before it
allocates; OpenCV decodes pixels, which is faster. The EXIF orientation is applied here, since
OpenCV below 4.11 applies it to JPEG and TIFF only, and later versions to PNG and WebP as well.

All functions raise :class:`ImageFileError` if a file cannot be read, is damaged, or is not an
image of 8 or 16 bits a channel and of at most ``MAX_PIXELS``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
import struct
from typing import Any, IO
import warnings

import cv2
from mnssd_perception.encodings import array_to_rgb, MAX_PIXELS
from mnssd_perception.errors import ImageFileError
from mnssd_perception.ssd.spec import MAX_IMAGE_SIDE
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.pgm', '.ppm')
MAX_BYTES = 8 * MAX_PIXELS + 2**20  # of an image in four channels of 16 bits, not compressed
FORMATS = ('BMP', 'JPEG', 'PNG', 'PPM', 'TIFF', 'WEBP')

JPEG_FORMATS, JPEG_END = ('JPEG', 'MPO'), b'\xff\xd9'
PNG_SIGNATURE_BYTES, PNG_CHUNK_BYTES, PNG_END = 8, 12, b'IEND'  # of a chunk without content
TIFF_WIDTH, TIFF_HEIGHT, EXIF_ORIENTATION = 0x0100, 0x0101, 0x0112
TIFF_CHANNELS, TIFF_TILE_SIDES = 0x0115, (0x0142, 0x0143)
MAX_TIFF_TAGS = 2**16  # a classic TIFF can have no more
MAX_CHANNELS = 8  # of a TIFF, with those that are dropped
MAX_TILE = 2**22  # pixels of a tile of a small TIFF

# How cv2.flip turns an image upright by its EXIF orientation, after a transposition from 5 on
# (Exif 2.32, 4.6.4 A, Orientation).
FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}


# What Pillow raises for damaged headers, beside OSError.
DAMAGED = (ArithmeticError, LookupError, SyntaxError, TypeError, ValueError, struct.error)


@dataclass(frozen=True)
class ImageHeader:
    """
    The header of an image file.

    :ivar format: for example ``PNG``.
    :ivar size: (width, height) of the upright image, pixels.
    :ivar orientation: EXIF orientation, 1 to 8; 1 for upright.
    """

    format: str
    size: tuple[int, int]
    orientation: int


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file, upright: ``(H, W, 3)`` uint8 RGB."""
    return decode_image(read_encoded(path), str(path))


def read_encoded(path: Path) -> bytes:
    """Read the bytes of an image file, if they are no more than any image has."""
    try:
        if (num_bytes := path.stat().st_size) > MAX_BYTES:
            raise ImageFileError(path, f'expected at most {MAX_BYTES} bytes, got {num_bytes}')
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise _unreadable(path, error) from error


def decode_image(
    encoded: bytes, name: str, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """
    Decode an image file, upright.

    16-bit grey images are stretched to 8 bits as those of a camera are, see
    :func:`mnssd_perception.thermal.to_8bit`.

    :param encoded: a BMP, JPEG, PNG, PNM, TIFF or WebP file.
    :param name: of the file, for messages.
    :param size: expected (width, height); another one is refused before decoding.
    :return: ``(H, W, 3)`` uint8 RGB.
    """
    return array_to_rgb(drop_extras(decode_pixels(encoded, name, size)))


def decode_stored(encoded: bytes, name: str) -> NDArray:
    """Decode an image file into what a camera would send, upright, see :func:`drop_extras`."""
    return drop_extras(decode_pixels(encoded, name))


def decode_pixels(encoded: bytes, name: str, size: tuple[int, int] | None = None) -> NDArray:
    """
    Decode an image file with all channels and bits, upright; parameters as :func:`decode_image`.

    :return: ``(H, W)`` grey, or ``(H, W, 3)`` BGR or ``(H, W, 4)`` BGRA; uint8 or uint16.
    """
    header, scan_offset = _read_header(BytesIO(encoded), name)
    if size is not None and header.size != tuple(size):
        raise ImageFileError(
            name, 'expected {}x{} pixels as annotated, got {}x{}'.format(*size, *header.size)
        )
    if header.format in JPEG_FORMATS and encoded.find(JPEG_END, scan_offset) < 0:
        raise ImageFileError(name, 'a JPEG that is cut short')  # OpenCV 4 paints the rest grey
    if header.format == 'PNG':
        _check_png_chunks(encoded, name)
    try:
        # IMREAD_UNCHANGED leaves the orientation to us, but for TIFF.
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageFileError(name, f'cannot decode it: {error.err}') from error
    if image is None:
        raise ImageFileError(name, f'cannot decode it, the {header.format} is damaged')
    if image.dtype not in (np.uint8, np.uint16):
        raise ImageFileError(name, f'expected 8 or 16 bits a channel, got {image.dtype}')
    if header.format != 'TIFF':
        if header.orientation >= 5:
            image = cv2.transpose(image)
        if header.orientation in FLIPS:
            image = cv2.flip(image, FLIPS[header.orientation])
    if image.shape[1::-1] != header.size:
        sides = (*header.size, *image.shape[1::-1])
        raise ImageFileError(
            name, 'expected {}x{} pixels as its header says, got {}x{}'.format(*sides)
        )
    return image


def drop_extras(image: NDArray) -> NDArray:
    """
    Drop what a camera would not send: transparency, and the lower 8 of 16 bits of colours.

    :param image: as :func:`decode_pixels` gives it.
    :return: ``(H, W)`` grey, uint8 or uint16, or ``(H, W, 3)`` BGR, uint8.
    """
    if image.ndim == 2:
        return image
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    return image if image.shape[2] == 3 else cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)


def read_image_size(source: Path | bytes, name: str | None = None) -> tuple[int, int]:
    """Read the (width, height) of an upright image, see :func:`read_image_header`."""
    return read_image_header(source, name).size


def read_image_header(source: Path | bytes, name: str | None = None) -> ImageHeader:
    """
    Read the header of an image file.

    :param source: path or content of the file.
    :param name: of the file, for messages; None for the path.
    """
    if isinstance(source, bytes):
        return _read_header(BytesIO(source), name or 'image')[0]
    return _read_header(source, name or str(source))[0]


def _read_header(source: Path | BytesIO, name: str) -> tuple[ImageHeader, int]:
    """Read the header; also the offset up to which Pillow reads: to the scan of a JPEG."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # many pixels, broken EXIF: nothing is decoded here
            with Image.open(source, formats=FORMATS) as image:
                width, height = image.size
                if image.format == 'TIFF':  # some versions of Pillow turn the size, some do not
                    tags = image.tag_v2
                    width, height = tags[TIFF_WIDTH], tags[TIFF_HEIGHT]
                    orientation = tags.get(EXIF_ORIENTATION, 1)
                    _check_tiff_layout(tags, image.fp, name)
                else:
                    orientation = _exif_orientation(image.info.get('exif'))
                file_format, scan_offset = str(image.format), image.fp.tell()
    except UnidentifiedImageError as error:
        raise ImageFileError(name, 'not an image, or damaged') from error
    except Image.DecompressionBombError as error:
        raise ImageFileError(name, f'expected at most {MAX_PIXELS} pixels: {error}') from error
    except DAMAGED as error:
        raise ImageFileError(name, f'the header is damaged: {error}') from error
    except OSError as error:
        raise _unreadable(name, error) from error
    if orientation not in range(1, 9):
        orientation = 1
    got = f'got {width}x{height}; scale or tile it'
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise ImageFileError(name, f'expected 1 to {MAX_PIXELS} pixels, {got}')
    if max(width, height) > MAX_IMAGE_SIDE:
        raise ImageFileError(name, f'expected sides of 1 to {MAX_IMAGE_SIDE} pixels, {got}')
    size = (height, width) if orientation >= 5 else (width, height)
    return ImageHeader(file_format, size, orientation), scan_offset


def _check_tiff_layout(tags: Mapping[int, Any], file: IO[bytes], name: str) -> None:
    """
    Refuse a TIFF whose tiles are far larger than the image, or that has very many channels.

    OpenCV allocates a whole tile, up to 1 GB. Strips are no higher than the image.
    """
    stored = _tiff_tags(file)
    # Which one counts depends on the version of Pillow, and may be another in OpenCV.
    size_tags = (TIFF_WIDTH, TIFF_HEIGHT, TIFF_CHANNELS, *TIFF_TILE_SIDES)
    if any(stored.count(tag) > 1 for tag in size_tags):
        raise ImageFileError(name, 'a TIFF that gives its size twice')
    if (num_channels := tags.get(TIFF_CHANNELS, 1)) > MAX_CHANNELS:
        raise ImageFileError(
            name, f'expected a TIFF of 1 to {MAX_CHANNELS} channels, got {num_channels}'
        )
    if not set(TIFF_TILE_SIDES).isdisjoint(stored):
        width, height = (int(tags[tag]) for tag in TIFF_TILE_SIDES)
        limit = max(MAX_TILE, 2 * tags[TIFF_WIDTH] * tags[TIFF_HEIGHT])
        if width < 1 or height < 1 or width * height > limit:
            raise ImageFileError(
                name, f'expected TIFF tiles of 1 to {limit} pixels, got {width}x{height}'
            )


def _tiff_tags(file: IO[bytes]) -> list[int]:
    """List the tags of the first image of a TIFF or BigTIFF (TIFF 6.0, section 2)."""
    file.seek(0)
    start = file.read(16)
    order = '<' if start[:2] == b'II' else '>'
    if 43 in start[2:4]:  # BigTIFF
        position, offset, count, entry_bytes = 8, f'{order}Q', f'{order}Q', 20
    else:
        position, offset, count, entry_bytes = 4, f'{order}I', f'{order}H', 12
    file.seek(*struct.unpack_from(offset, start, position))
    (num_tags,) = struct.unpack(count, file.read(struct.calcsize(count)))
    entries = file.read(min(num_tags, MAX_TIFF_TAGS) * entry_bytes)
    return [tag for (tag,) in struct.iter_unpack(f'{order}H{entry_bytes - 2}x', entries)]


def _exif_orientation(content: bytes | None) -> int:
    """
    Read the orientation of EXIF data; 1 where they are missing or damaged.

    Not by Pillow's ``getexif``, which decodes a PNG and, in some versions, also looks at XMP.
    """
    if content is None:
        return 1
    exif = Image.Exif()
    try:
        exif.load(content)
        return exif.get(EXIF_ORIENTATION, 1)
    except (*DAMAGED, OSError):
        return 1


def _check_png_chunks(encoded: bytes, name: str) -> None:
    """
    Refuse a PNG with a chunk that is longer than the file.

    OpenCV 5 allocates what the length of a chunk says (PNG 1.2, section 3.2), up to 4 GB.
    """
    start = PNG_SIGNATURE_BYTES
    while start < len(encoded):
        if len(encoded) - start < PNG_CHUNK_BYTES:
            raise ImageFileError(name, 'a PNG that is cut short')
        (length,) = struct.unpack_from('>I', encoded, start)
        if length > len(encoded) - start - PNG_CHUNK_BYTES:
            raise ImageFileError(name, 'a PNG that is cut short, or with a damaged chunk')
        if encoded[start + 4 : start + 8] == PNG_END:  # what follows is not read
            return
        start += PNG_CHUNK_BYTES + length


def _unreadable(name: object, error: Exception) -> ImageFileError:
    """Explain an error of the operating system, or of Pillow, which uses its class."""
    if isinstance(error, OSError) and not error.strerror:
        return ImageFileError(name, f'the image is damaged: {error}')
    return ImageFileError(name, f'cannot read the image: {getattr(error, "strerror", error)}')
