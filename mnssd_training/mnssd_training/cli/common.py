"""Error handling, arguments and file output that commands share."""

from collections.abc import Callable
from functools import wraps
import logging
from pathlib import Path
from typing import ParamSpec

import cv2
from mnssd_perception import commands
from mnssd_perception.commands import make_parser, positive_int
from mnssd_training.errors import DatasetError
import numpy as np
from numpy.typing import NDArray

__all__ = ['command', 'make_parser', 'positive_int', 'write_file', 'write_image']

P = ParamSpec('P')


def command(run: Callable[P, None]) -> Callable[P, int]:
    """Make a function return its exit code, see :func:`mnssd_perception.commands.command`."""

    @wraps(run)
    def run_quietly(*args: P.args, **kwargs: P.kwargs) -> None:
        cv2.setNumThreads(1)  # images are small, and the loader's workers fill the cores
        logging.getLogger('torch.onnx').setLevel(logging.ERROR)
        run(*args, **kwargs)

    return commands.command(run_quietly)


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file, text in UTF-8, and create its folder; an OSError becomes a DatasetError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        raise DatasetError(path, f'cannot be written: {error.strerror}') from error


def write_image(path: Path, image: NDArray[np.uint8], quality: int = 90) -> None:
    """
    Encode and write an image, and create its folder.

    :param path: its suffix selects the format.
    :param image: ``(H, W, 3)`` RGB or ``(H, W)`` grey, uint8.
    :param quality: of a JPEG, 0 to 100.
    :raises DatasetError: if it cannot be written, or the format is unsupported.
    """
    is_jpeg = path.suffix.lower() in ('.jpg', '.jpeg')
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality] if is_jpeg else []
    pixels = image[..., ::-1] if image.ndim == 3 else image
    try:
        encoded = cv2.imencode(path.suffix, pixels, parameters)[1]
    except cv2.error as error:
        raise DatasetError(path, 'expected a suffix of .jpg or .png') from error
    write_file(path, encoded.tobytes())
