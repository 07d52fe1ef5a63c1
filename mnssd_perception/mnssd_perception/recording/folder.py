"""A path to a folder that can be written into."""

from pathlib import Path
import shutil
import tempfile

from mnssd_perception.errors import RecordingError

# Below this the disk counts as full, so that others can still write [bytes].
LEAST_FREE = 64 * 2**20


def prepare_folder(folder: Path) -> None:
    """
    Make a folder, unless it is there, and try whether it takes files.

    :param folder: the folder.
    :raises RecordingError: when it does not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RecordingError(
            f"cannot write into '{folder}' ({error.strerror}); choose another folder"
        ) from error
    check_space(folder)


def check_space(folder: Path) -> None:
    """
    Make sure that the disk is not full; OpenCV would not tell.

    :param folder: on the disk.
    :raises RecordingError: when it is.
    """
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE:
        raise RecordingError(
            f"the disk of '{folder}' is full: expected at least {LEAST_FREE >> 20} MB, "
            f'got {free >> 20}; make room or choose another folder'
        )
