"""An image file to what can be told of it without knowing what it shows."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
import hashlib
from io import BytesIO

import cv2
from mnssd_training.data.sample import read_encoded, read_image
from mnssd_training.errors import DatasetError
from mnssd_training.inspection.records import Place
import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ['look_at', 'look_at_all', 'perceptual_hash', 'Photograph']

HASH_SIDE = 16  # bits a row and rows of a hash
COLOUR = 2.0  # mean difference of channels, of 255, from which an image is not grey
SPARSE = 4  # every so many pixels tell whether an image is grey
ORIENTATION = 0x0112  # EXIF 2.32, table 4
FEW = 200  # images that are not worth further processes


@dataclass(frozen=True)
class Photograph:
    """
    What a file holds.

    :ivar path: the file.
    :ivar error: why it cannot be used; empty if it can. Nothing else is known then.
    :ivar size: (height, width) as readers see it, pixels.
    :ivar digest: SHA-256 of the file, hexadecimal.
    :ivar hash: ``(HASH_SIDE ** 2,)`` bool; alike for images that look alike.
    :ivar has_channels: more than one channel is stored.
    :ivar is_grey: all channels are nearly the same.
    :ivar is_8_bit: a channel has 8 bits.
    :ivar orientation: EXIF orientation; 1 for upright.
    """

    path: Place
    error: str = ''
    size: tuple[int, int] = (0, 0)
    digest: str = ''
    hash: NDArray[np.bool_] | None = None
    has_channels: bool = False
    is_grey: bool = False
    is_8_bit: bool = True
    orientation: int = 1


def look_at_all(paths: Iterable[Place], workers: int) -> Iterator[Photograph]:
    """
    Look at many image files.

    :param paths: the files.
    :param workers: processes; a few images are looked at in this one.
    :return: one after the other, in the order of the files.
    """
    files = list(paths)
    if workers < 2 or len(files) < FEW:
        yield from map(look_at, files)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(look_at, files, chunksize=16)


def look_at(path: Place) -> Photograph:
    """Look at an image file."""
    try:
        image = read_image(path)
        encoded = read_encoded(path)
        header = _read_header(encoded)
    except DatasetError as error:
        return Photograph(path, str(error).removeprefix(f'{path}: '))
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        return Photograph(path, f'damaged: {error}')
    some = image[::SPARSE, ::SPARSE]
    spread = some.max(axis=2).astype(np.int16) - some.min(axis=2)
    return Photograph(
        path,
        '',
        (image.shape[0], image.shape[1]),
        hashlib.sha256(encoded).hexdigest(),
        perceptual_hash(image),
        header[0],
        float(spread.mean()) < COLOUR,
        header[1],
        header[2],
    )


def perceptual_hash(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """
    Describe how brightness rises and falls over an image, from left to right.

    A change of size, of quality or of overall brightness alters few of the bits; a mirrored image
    has other bits.

    :param image: ``(H, W, 3)`` RGB or ``(H, W)`` grey, uint8.
    :return: ``(HASH_SIDE ** 2,)`` bool.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    small = cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
    return (small[:, 1:] > small[:, :-1]).reshape(-1)


def _read_header(encoded: bytes) -> tuple[bool, bool, int]:
    """
    Read what OpenCV does not tell, and every pixel: Pillow notices a file that is cut short.

    :return: whether there are several channels, whether they have 8 bits, EXIF orientation.
    """
    with Image.open(BytesIO(encoded)) as image:
        image.load()
        orientation = image.getexif().get(ORIENTATION, 1)
        has_channels = len(image.getbands()) > 1 or image.mode == 'P'
        lossless = image.format not in ('JPEG', 'WEBP')
    is_8_bit = True
    if lossless:  # Pillow makes 8 bits of 16 in a PNG with colours
        raw = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
        is_8_bit = raw is not None and raw.dtype == np.uint8
    return has_channels, is_8_bit, orientation if orientation in range(1, 9) else 1
