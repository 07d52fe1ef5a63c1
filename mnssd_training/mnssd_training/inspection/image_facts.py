"""Measure image files without knowing what they show."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
import hashlib
from pathlib import Path

import cv2
from mnssd_perception.encodings import array_to_rgb
from mnssd_perception.errors import ImageFileError
from mnssd_perception.image_file import decode_pixels, drop_extras, read_image_header
from mnssd_training.data.remote import ShardEntry
from mnssd_training.data.sample import read_encoded
from mnssd_training.errors import DatasetError
import numpy as np
from numpy.typing import NDArray

HASH_SIDE = 16  # bits per row and rows of a hash
COLOUR = 2.0  # mean difference of channels, of 255, from which an image is not grey
PIXEL_STEP = 4  # one of so many pixels tells whether an image is grey
MIN_PARALLEL = 200  # fewer images are not worth further processes


@dataclass(frozen=True)
class ImageFacts:
    """What an image file holds; only ``path`` and ``error`` if it cannot be used."""

    path: Path | ShardEntry
    error: str = ''
    size: tuple[int, int] = (0, 0)  # (height, width) upright, pixels
    digest: str = ''  # SHA-256 of the file, hexadecimal
    hash: NDArray[np.bool_] | None = None  # (HASH_SIDE ** 2,), similar for similar images
    has_channels: bool = False  # more than one channel is stored
    is_grey: bool = False  # all channels are nearly the same
    is_8_bit: bool = True
    orientation: int = 1  # EXIF; 1 for upright


def read_all_image_facts(paths: Iterable[Path | ShardEntry], workers: int) -> Iterator[ImageFacts]:
    """Read image files in their order, by several processes if there are many."""
    files = list(paths)
    if workers < 2 or len(files) < MIN_PARALLEL:
        yield from map(read_image_facts, files)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(read_image_facts, files, chunksize=16)


def read_image_facts(path: Path | ShardEntry) -> ImageFacts:
    """Read an image file."""
    try:
        encoded = read_encoded(path)
        header = read_image_header(encoded, str(path))
        stored = decode_pixels(encoded, str(path))
    except DatasetError as error:
        return ImageFacts(path, str(error).removeprefix(f'{path}: '))
    except ImageFileError as error:
        return ImageFacts(path, error.reason)
    image = array_to_rgb(drop_extras(stored))
    pixels = image[::PIXEL_STEP, ::PIXEL_STEP]
    spread = pixels.max(axis=2).astype(np.int16) - pixels.min(axis=2)
    return ImageFacts(
        path,
        size=(image.shape[0], image.shape[1]),
        digest=hashlib.sha256(encoded).hexdigest(),
        hash=perceptual_hash(image),
        has_channels=stored.ndim == 3,
        is_grey=float(spread.mean()) < COLOUR,
        is_8_bit=stored.dtype == np.uint8,
        orientation=header.orientation,
    )


def perceptual_hash(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """
    Describe how brightness rises and falls from left to right, in ``(HASH_SIDE ** 2,)`` bits.

    A change of size, of quality or of overall brightness alters few of the bits; a mirrored image
    has other bits. The image is ``(H, W, 3)`` RGB or ``(H, W)`` grey, uint8.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    small = cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
    return (small[:, 1:] > small[:, :-1]).reshape(-1)
