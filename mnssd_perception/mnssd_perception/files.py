"""Write files that are complete or missing, also after a power cut, and find the cache."""

from contextlib import suppress
import errno
import os
from pathlib import Path
import shutil


def write_atomically(path: Path, content: bytes) -> None:
    """
    Write a file under another name, then rename it.

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

    :param size: of the content, bytes; 0 where that is unknown.
    """
    reason = error.strerror or str(error)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return reason
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return reason
    needs = f'the file needs {size / 1e6:.2f} MB, ' if size else ''
    return f'{reason}: {needs}{free / 1e6:.2f} MB are free in {path.parent}'


def cache_folder() -> Path | None:
    """Return ``mnssd`` in the XDG cache folder; None for a user without a home folder."""
    configured = os.environ.get('XDG_CACHE_HOME', '')
    if Path(configured).is_absolute():  # the specification ignores relative paths
        return Path(configured) / 'mnssd'
    try:
        return Path.home() / '.cache' / 'mnssd'
    except RuntimeError:
        return None
