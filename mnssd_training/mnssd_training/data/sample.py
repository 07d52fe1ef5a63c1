"""One annotated photograph, whatever format it was read from."""

from dataclasses import dataclass
from pathlib import Path

import cv2
from mnssd_training.errors import DatasetError
import numpy as np
from numpy.typing import NDArray

__all__ = ['ANY_CLASS', 'load_image', 'read_image', 'Sample']

ANY_CLASS = -1  # label of an ignore region that is not of one class
JPEG_START, JPEG_END = b'\xff\xd8', b'\xff\xd9'


@dataclass(frozen=True)
class Sample:
    """
    One annotated photograph.

    Ignore regions are neither right nor wrong: in training no prior inside answers for anything,
    in evaluation a detection inside is not counted.

    :ivar name: unique in the data set.
    :ivar path: the image file.
    :ivar size: (height, width), pixels.
    :ivar boxes: ``(N, 4)`` float32 xyxy, pixels.
    :ivar labels: ``(N,)`` int64, from 0.
    :ivar ignore: ``(M, 4)`` float32 xyxy, pixels.
    :ivar ignore_labels: ``(M,)`` int64, the class that a region hides, or :data:`ANY_CLASS`.
    """

    name: str
    path: Path
    size: tuple[int, int]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignore: NDArray[np.float32]
    ignore_labels: NDArray[np.int64]


def load_image(sample: Sample) -> NDArray[np.uint8]:
    """
    Read the photograph of a sample.

    :param sample: which one.
    :return: ``(height, width, 3)`` uint8 RGB.
    :raises DatasetError: if the file is missing, not an image, or not of the annotated size.
    """
    image = read_image(sample.path)
    if image.shape[:2] != sample.size:
        raise DatasetError(
            sample.path,
            f'expected height and width {sample.size} as annotated, got {image.shape[:2]}',
        )
    return image


def read_image(path: Path) -> NDArray[np.uint8]:
    """
    Read a photograph.

    :param path: the image file.
    :return: ``(height, width, 3)`` uint8 RGB.
    :raises DatasetError: if the file is missing, cut short or not an image.
    """
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise DatasetError(path, f'cannot read the image: {error.strerror}') from error
    if encoded.startswith(JPEG_START) and JPEG_END not in encoded:
        raise DatasetError(path, 'a JPEG that is cut short')  # OpenCV would paint the rest grey
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # an empty file, or sides beyond reason
        image = None
    if image is None:
        raise DatasetError(path, 'not an image that OpenCV can read')
    return np.ascontiguousarray(image[..., ::-1])
