"""Prepare and write to the output folder of a recording."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import shutil
import tempfile

from mnssd_perception.errors import RecordingError

# Below this the disk counts as full, so that other programs can still write [bytes].
MIN_FREE = 64 * 2**20


@contextmanager
def writing(path: Path, hint: str = '') -> Iterator[None]:
    """Raise RecordingError where writing to a path fails."""
    try:
        yield
    except OSError as error:
        raise RecordingError(f"cannot write '{path}': {error.strerror}{hint}") from error


def prepare_folder(folder: Path) -> None:
    """Create a folder, unless it exists, or raise RecordingError where files cannot be written."""
    with writing(folder, '; choose another folder'):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    check_space(folder)


def check_space(folder: Path) -> None:
    """Raise RecordingError where the disk is full, which OpenCV does not report."""
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE:
        raise RecordingError(
            f"the disk of '{folder}' is full: expected at least {MIN_FREE >> 20} MB, "
            f'got {free >> 20}; free some space or choose another folder'
        )
