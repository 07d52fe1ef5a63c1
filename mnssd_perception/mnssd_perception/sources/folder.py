"""A folder of images as a camera."""

from collections.abc import Callable, Iterator
from pathlib import Path
import re

from mnssd_perception.errors import ImageFileError, SourceError
from mnssd_perception.image_file import decode_stored, IMAGE_SUFFIXES, read_encoded
from mnssd_perception.sources.source import Frame, FrameSource

# A pace at which a person can follow images [Hz].
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
                image = decode_stored(read_encoded(path), str(path))
            except ImageFileError as error:
                self._problem(f'skipping a frame: {error}')
                continue
            yield Frame(image, path.name)


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
