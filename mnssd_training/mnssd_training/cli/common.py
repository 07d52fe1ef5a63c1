"""Error handling and file output that all commands share."""

from collections.abc import Callable, Sequence
import logging
from pathlib import Path
import signal
import sys

import cv2
from mnssd_perception.errors import MnssdError
from mnssd_training.errors import DatasetError
import numpy as np
from numpy.typing import NDArray


def run_verb(verb: Callable[[Sequence[str] | None], None], arguments: Sequence[str] | None) -> int:
    """
    Run a command; errors become one line on stderr.

    :return: exit code: 0, 1 for an error, 128 + n for signal n.
    """
    cv2.setNumThreads(1)  # images are small, and the loader's workers fill the cores
    logging.getLogger('torch.onnx').setLevel(logging.ERROR)
    try:
        verb(arguments)
    except MnssdError as error:
        print('error:', ' '.join(str(error).split()), file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(str(stop) or 'interrupted', file=sys.stderr)
        return 128 + getattr(stop, 'signum', signal.SIGINT)
    except BrokenPipeError:
        sys.stderr.close()
    return 0


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
