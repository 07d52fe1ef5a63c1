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

LOCK = 'run.lock'
TRIES = 100  # to open it, while other processes remove it
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
_held: set[int] = set()  # file descriptors of the locks of this process


@contextmanager
def locked(folder: Path) -> Iterator[str]:
    """
    Hold the lock of a run folder; the system releases it when the process ends, however it ends.

    An ``flock``, which also works between the hosts of an NFS. A record lock (``lockf``) would be
    gone as soon as anything in this process reads the lock file, to copy the folder for example.

    :param folder: made if need be; gone again if nothing else was written to it.
    :return: empty, or why there is no lock.
    :raises TrainingError: naming the host and the process that hold it.
    """
    try:
        handle, note = _take(folder)
    except OSError as error:
        raise TrainingError(
            f'{error.filename or folder}: cannot be written: {error.strerror}'
        ) from error
    _held.add(handle)
    try:
        yield note
    finally:
        if handle in _held:  # not in a forked process
            _held.remove(handle)
            # Under the lock: a process that has opened the file meanwhile sees that it is gone.
            with suppress(OSError):
                if [path.name for path in folder.iterdir()] == [LOCK]:
                    (folder / LOCK).unlink()
                    folder.rmdir()
            os.close(handle)


def _close_in_child() -> None:
    """Leave the lock to the parent: a loader's worker lives on for seconds when that is killed."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_close_in_child)


def _take(folder: Path) -> tuple[int, str]:
    """Open the lock file, lock it and write down who did."""
    path = folder / LOCK
    for _ in range(TRIES):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            continue  # its last holder has just removed the empty folder
        try:
            note = _lock(handle, folder)
            if os.fstat(handle).st_nlink:  # else: removed between the two lines above
                now = datetime.now(timezone.utc).isoformat(timespec='seconds')
                holder = f'host {socket.gethostname()}, pid {os.getpid()}, since {now}'
                os.ftruncate(handle, 0)
                os.write(handle, holder.encode())
                return handle, note
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    raise TrainingError(f'{path}: cannot be created')


def _lock(handle: int, folder: Path) -> str:
    """Lock an open file; say why not where the file system cannot."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            raise TrainingError(_held_by(handle, folder)) from error
        if error.errno not in UNSUPPORTED:
            raise
        return (
            f'{folder}: its file system has no locks ({error.strerror}); '
            f'see to it that no other process trains in this folder'
        )
    return ''


def _held_by(handle: int, folder: Path) -> str:
    """Say who holds the lock."""
    holder = sanitize_text(os.read(handle, 1000).decode(errors='replace')) or 'unknown'
    return (
        f'{folder}: another process trains in this folder ({holder}); '
        f'wait for its end, or choose another folder with --run'
    )
