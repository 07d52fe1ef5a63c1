"""One annotated image, whatever format it was read from."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
from mnssd_perception import image_file, matching
from mnssd_perception.errors import ImageFileError
from mnssd_perception.image_file import decode_image
from mnssd_training.data.remote import read_entry, ShardEntry
from mnssd_training.errors import DatasetError
import numpy as np
from numpy.typing import NDArray

ANY_CLASS = matching.ANY_CLASS


@dataclass(frozen=True)
class Sample:
    """
    One annotated image.

    What a dataset marks as neither to learn nor to count becomes an ignore region, in the same
    way for all formats: VOC objects marked difficult, COCO crowds and VisDrone objects of score 0
    hide their own class; regions of ``DontCare``, VisDrone's ignored regions and others, and
    classes renamed to nothing hide every class (:data:`ANY_CLASS`). In training no prior inside an
    ignore region is matched or negative; in evaluation a detection inside is not counted.

    :ivar name: unique in the split; may hold slashes.
    :ivar size: (height, width), pixels.
    :ivar boxes: ``(N, 4)`` float32 xyxy, pixels.
    :ivar labels: ``(N,)`` int64, from 0.
    :ivar ignore: ``(M, 4)`` float32 xyxy, pixels.
    :ivar ignore_labels: ``(M,)`` int64, the class that a region hides, or :data:`ANY_CLASS`.
    :ivar pixels: the decoded image, ``(H, W, 3)`` uint8 RGB or ``(H, W)`` grey, read-only; None if
        it is not kept in memory.
    :ivar hard_negatives: ``(K, 4)`` float32 xyxy, pixels; false positives of an earlier model.
    """

    name: str
    path: Path | ShardEntry
    size: tuple[int, int]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignore: NDArray[np.float32]
    ignore_labels: NDArray[np.int64]
    pixels: NDArray[np.uint8] | None = field(default=None, repr=False)
    hard_negatives: NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((0, 4), np.float32)
    )


def load_image(sample: Sample) -> NDArray[np.uint8]:
    """
    Read the image of a sample as ``(H, W, 3)`` uint8 RGB, from memory if it is there.

    :raises DatasetError: if the file is missing, not an image, or not of the annotated size.
    """
    if sample.pixels is not None:
        is_grey = sample.pixels.ndim == 2
        return cv2.cvtColor(sample.pixels, cv2.COLOR_GRAY2RGB) if is_grey else sample.pixels
    height, width = sample.size
    return read_image(sample.path, (width, height))


def read_image(
    path: Path | ShardEntry, size_wh: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """
    Read an image as ``(H, W, 3)`` uint8 RGB.

    :param size_wh: expected (width, height), pixels; another one is refused before decoding.
    :raises DatasetError: if the file is missing, cut short or not an image.
    """
    try:
        return decode_image(read_encoded(path), str(path), size_wh)
    except ImageFileError as error:
        raise DatasetError(path, error.reason) from error


def read_encoded(path: Path | ShardEntry) -> bytes:
    """Read the bytes of an image file."""
    if isinstance(path, ShardEntry):
        return read_entry(path)
    try:
        return image_file.read_encoded(path)
    except ImageFileError as error:
        raise DatasetError(path, error.reason) from error


def read_header_size(path: Path | ShardEntry) -> tuple[int, int]:
    """Read the (height, width) of an upright image, pixels, from its header."""
    try:
        source = path if isinstance(path, Path) else read_encoded(path)
        width, height = image_file.read_image_size(source)
    except ImageFileError as error:
        raise DatasetError(path, error.reason) from error
    return height, width
