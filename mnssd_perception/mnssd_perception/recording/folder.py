"""Prepare the output folder of a recording."""

from pathlib import Path
import shutil
import tempfile

from mnssd_perception.errors import RecordingError

# Below this the disk counts as full, so that other programs can still write [bytes].
MIN_FREE = 64 * 2**20


def prepare_folder(folder: Path) -> None:
    """
    Create a folder, unless it exists, and check that files can be written to it.

    :raises RecordingError: when they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RecordingError(
            f"cannot write to '{folder}' ({error.strerror}); choose another folder"
        ) from error
    check_space(folder)


def check_space(folder: Path) -> None:
    """
    Check that the disk is not full, which OpenCV does not report.

    :raises RecordingError: when it is.
    """
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE:
        raise RecordingError(
            f"the disk of '{folder}' is full: expected at least {MIN_FREE >> 20} MB, "
            f'got {free >> 20}; free some space or choose another folder'
        )
