"""Write files that are complete or not there at all, also after a power cut."""

from contextlib import suppress
import errno
import os
from pathlib import Path
import shutil

MEGA = 1e6


def write_atomically(path: Path, content: bytes) -> None:
    """
    Write a file beside its place, then move it there.

    :param path: of the file; an older one is replaced in one step.
    :param content: all of it.
    :raises OSError: if it cannot be written; an older file stays as it was.
    """
    partial = path.with_name(f'{path.name}.partial')
    try:
        with partial.open('wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:  # also Ctrl-C: nothing half-written is left behind
        with suppress(OSError):
            partial.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """
    Make new names in a folder outlive a power cut; a rename alone does not.

    :param folder: in which files were created or renamed.
    :raises OSError: if the disk fails.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # some network and FUSE file systems cannot sync a folder; there is nothing to be done
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def explain_write_error(error: OSError, path: Path, size: int = 0) -> str:
    """
    Say why a file cannot be written; with the free space if the disk is full.

    :param error: the reason.
    :param path: of the file.
    :param size: of its content, bytes; 0 where that is not known.
    :return: a part of a sentence.
    """
    reason = error.strerror or str(error)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return reason
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return reason
    needs = f'the file needs {size / MEGA:.2f} MB, ' if size else ''
    return f'{reason}: {needs}{free / MEGA:.2f} MB are free in {path.parent}'
