"""A folder of images as a camera."""

from collections.abc import Callable, Iterator
from pathlib import Path
import re

import cv2
from mnssd_perception.errors import SourceError
from mnssd_perception.sources.source import Frame, FrameSource
from mnssd_perception.thermal import to_8bit
import numpy as np
from numpy.typing import NDArray

__all__ = ['FolderSource', 'IMAGE_SUFFIXES', 'read_image']

IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')

# A pace at which a person can follow photographs [Hz].
PHOTO_RATE = 10.0


class FolderSource(FrameSource):
    """
    The images of a folder in natural order (``9.jpg`` before ``10.jpg``), or a single image.

    :param path: the folder, or an image.
    :param rate: frames a second; None for 10.
    :param loop: whether to start over at the end.
    :param report: is called with a sentence for every image that cannot be read.
    :raises SourceError: when the path has no images.
    """

    def __init__(
        self,
        path: Path,
        *,
        rate: float | None = None,
        loop: bool = False,
        report: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        super().__init__(str(path), rate=rate or PHOTO_RATE, loop=loop, report=report)
        self._paths = [path] if path.is_file() else _image_paths(path)

    def __len__(self) -> int:
        """Count the image files."""
        return len(self._paths)

    def _play(self) -> Iterator[Frame]:
        """Read one file after the other and skip those that are no images."""
        for path in self._paths:
            try:
                image = read_image(path)
            except SourceError as error:
                self._problem(f'skipping a frame: {error}')
                continue
            yield Frame(image, path.name)


def read_image(path: Path) -> NDArray[np.uint8]:
    """
    Read an image file, upright.

    :param path: the file.
    :return: ``(H, W, 3)`` BGR or ``(H, W)`` grey, uint8; 16-bit images are stretched to 8 bits.
    :raises SourceError: when the file is not a whole, readable image.
    """
    try:
        image = cv2.imread(str(path), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        raise SourceError(f"cannot decode image '{path}': {error.err}") from error
    if image is None or image.size == 0:
        raise SourceError(f"expected an image, got something unreadable: '{path}'")
    if image.dtype == np.uint16:
        if image.ndim == 2:
            return to_8bit(image)
        return (image >> 8).astype(np.uint8)
    if image.dtype != np.uint8:
        raise SourceError(f"expected 8 or 16 bits a channel, got {image.dtype}: '{path}'")
    return image


def _image_paths(folder: Path) -> list[Path]:
    """List the images of a folder in natural order."""
    try:
        files = [path for path in folder.iterdir() if not path.name.startswith('.')]
    except OSError as error:
        raise SourceError(f"cannot list folder '{folder}': {error.strerror}") from error
    paths = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        found = f'{len(files)} other entries' if files else 'nothing'
        raise SourceError(
            f"expected images ({', '.join(IMAGE_SUFFIXES)}) in folder '{folder}', got {found}"
        )
    return sorted(paths, key=_natural)


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    """Make a key that sorts the numbers in a name by their value."""
    parts = re.split(r'([0-9]+)', path.name.casefold())
    # Not isdigit(), which holds for '²' as well.
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
