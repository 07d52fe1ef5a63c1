"""An image file to what can be told of it without knowing what it shows."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
import hashlib

import cv2
from mnssd_perception.encodings import array_to_rgb
from mnssd_perception.errors import ImageFileError
from mnssd_perception.image_file import decode_pixels, drop_extras, read_image_header
from mnssd_training.data.sample import read_encoded
from mnssd_training.errors import DatasetError
from mnssd_training.inspection.records import Place
import numpy as np
from numpy.typing import NDArray

HASH_SIDE = 16  # bits a row and rows of a hash
COLOUR = 2.0  # mean difference of channels, of 255, from which an image is not grey
SPARSE = 4  # every so many pixels tell whether an image is grey
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
        encoded = read_encoded(path)
        header = read_image_header(encoded, str(path))
        stored = decode_pixels(encoded, str(path))
    except DatasetError as error:
        return Photograph(path, str(error).removeprefix(f'{path}: '))
    except ImageFileError as error:
        return Photograph(path, error.reason)
    image = array_to_rgb(drop_extras(stored))
    some = image[::SPARSE, ::SPARSE]
    spread = some.max(axis=2).astype(np.int16) - some.min(axis=2)
    return Photograph(
        path,
        '',
        (image.shape[0], image.shape[1]),
        hashlib.sha256(encoded).hexdigest(),
        perceptual_hash(image),
        stored.ndim == 3,
        float(spread.mean()) < COLOUR,
        stored.dtype == np.uint8,
        header.orientation,
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
