"""Lock a run folder, so that only one process at a time trains in it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
import errno
import fcntl
import os
from pathlib import Path
import socket

from mnssd_perception.text import sanitize_text
from mnssd_training.errors import TrainingError

LOCK_FILE = 'run.lock'
MAX_TRIES = 100  # to open it, while other processes remove it
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
_held: set[int] = set()  # file descriptors of the locks of this process


@contextmanager
def lock_folder(folder: Path) -> Iterator[str]:
    """
    Hold the lock of a run folder; the system releases it however the process ends.

    An ``flock``, which also works between the hosts of an NFS. A record lock (``lockf``) would be
    gone as soon as anything in this process reads the lock file, to copy the folder for example.

    :param folder: created if necessary; removed again if nothing else was written to it.
    :return: a warning if the file system has no locks, else empty.
    """
    try:
        handle, warning = _acquire(folder)
    except OSError as error:
        raise TrainingError(
            f'{error.filename or folder}: cannot be written: {error.strerror}'
        ) from error
    _held.add(handle)
    try:
        yield warning
    finally:
        if handle in _held:  # not in a forked process
            _held.remove(handle)
            # Under the lock: a process that has opened the file meanwhile sees that it is gone.
            with suppress(OSError):
                if [path.name for path in folder.iterdir()] == [LOCK_FILE]:
                    (folder / LOCK_FILE).unlink()
                    folder.rmdir()
            os.close(handle)


def _close_in_child() -> None:
    # The lock stays with the parent: a loader's worker survives it by seconds when it is killed.
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_close_in_child)


def _acquire(folder: Path) -> tuple[int, str]:
    """Open and lock the lock file, and write the holder into it."""
    path = folder / LOCK_FILE
    for _ in range(MAX_TRIES):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            continue  # its last holder has just removed the empty folder
        try:
            warning = _flock(handle, folder)
            if os.fstat(handle).st_nlink:  # else: removed between the two lines above
                now = datetime.now(timezone.utc).isoformat(timespec='seconds')
                holder = f'host {socket.gethostname()}, pid {os.getpid()}, since {now}'
                os.ftruncate(handle, 0)
                os.write(handle, holder.encode())
                return handle, warning
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    raise TrainingError(f'{path}: cannot be created')


def _flock(handle: int, folder: Path) -> str:
    """Lock an open file; return a warning where the file system cannot."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            holder = sanitize_text(os.read(handle, 1000).decode(errors='replace')) or 'unknown'
            raise TrainingError(
                f'{folder}: another process trains in this folder ({holder}); '
                f'wait until it ends, or choose another folder with --run'
            ) from error
        if error.errno not in UNSUPPORTED:
            raise
        return (
            f'{folder}: its file system has no locks ({error.strerror}); '
            f'make sure that no other process trains in this folder'
        )
    return ''
