"""What verbs write: texts and images, with an error of one line where that fails."""

from pathlib import Path

import cv2
from mnssd_training.errors import DatasetError
import numpy as np
from numpy.typing import NDArray


def write_file(path: Path, text: str) -> None:
    """
    Write a text; folders are made.

    :param path: of the file.
    :param text: its content.
    :raises DatasetError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
    except OSError as error:
        raise DatasetError(path, f'cannot be written: {error.strerror}') from error


def write_image(path: Path, image: NDArray[np.uint8], quality: int = 90) -> None:
    """
    Write an image; folders are made.

    :param path: of the file; its suffix says the format.
    :param image: ``(H, W, 3)`` RGB or ``(H, W)`` grey, uint8.
    :param quality: of a JPEG, 0 to 100.
    :raises DatasetError: if it cannot be written, or there is no such format.
    """
    try:
        pixels = image[..., ::-1] if image.ndim == 3 else image
        is_jpeg = path.suffix.lower() in ('.jpg', '.jpeg')
        how = [cv2.IMWRITE_JPEG_QUALITY, quality] if is_jpeg else []
        encoded = cv2.imencode(path.suffix, pixels, how)[1]
    except cv2.error as error:
        raise DatasetError(path, 'expected a suffix of .jpg or .png') from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise DatasetError(path, f'cannot be written: {error.strerror}') from error
