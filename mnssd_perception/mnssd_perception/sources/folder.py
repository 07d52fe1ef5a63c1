"""Play a folder of images."""

from collections.abc import Iterator
from pathlib import Path
import re

from mnssd_perception.errors import ImageFileError, SourceError
from mnssd_perception.image_file import decode_stored, IMAGE_SUFFIXES, read_encoded
from mnssd_perception.sources.source import Frame, FrameSource, ignore, Report

DEFAULT_RATE = 10.0  # a person can follow still images at this rate [Hz]


class FolderSource(FrameSource):
    """The images of a folder in natural order (``9.jpg`` before ``10.jpg``), or one image."""

    def __init__(
        self, path: Path, *, rate: float | None = None, loop: bool = False, report: Report = ignore
    ) -> None:
        super().__init__(str(path), rate=rate or DEFAULT_RATE, loop=loop, report=report)
        self._paths = [path] if path.is_file() else _list_images(path)

    def __len__(self) -> int:
        """Count the image files."""
        return len(self._paths)

    def _play(self) -> Iterator[Frame]:
        for path in self._paths:
            try:
                image = decode_stored(read_encoded(path), str(path))
            except ImageFileError as error:
                self._report(f'skipping a frame: {error}')
                continue
            yield Frame(image, path.name)


def _list_images(folder: Path) -> list[Path]:
    try:
        entries = [path for path in folder.iterdir() if not path.name.startswith('.')]
    except OSError as error:
        raise SourceError(f"cannot list folder '{folder}': {error.strerror}") from error
    paths = [path for path in entries if path.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        content = f'{len(entries)} other entries' if entries else 'nothing'
        raise SourceError(
            f"expected images ({', '.join(IMAGE_SUFFIXES)}) in folder '{folder}', got {content}"
        )
    return sorted(paths, key=_natural_key)


def _natural_key(path: Path) -> list[tuple[bool, int, str]]:
    parts = re.split(r'([0-9]+)', path.name.casefold())
    # Not isdigit(), which also holds for '²'.
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
