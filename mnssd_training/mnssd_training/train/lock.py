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

__all__ = ['locked']

LOCK = 'run.lock'
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


@contextmanager
def locked(folder: Path) -> Iterator[str]:
    """
    Hold the lock of a run folder; the system releases it when the process ends, however it ends.

    A POSIX record lock (``lockf``) and not ``flock``: loader workers are forked and would go on
    holding the latter for some seconds after the process that they load for was killed. It also
    works between the hosts of an NFS.

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
    try:
        yield note
    finally:
        # Under the lock: another process may have opened the file, and sees that it has no name.
        with suppress(OSError):
            if [path.name for path in folder.iterdir()] == [LOCK]:
                (folder / LOCK).unlink()
                folder.rmdir()
        os.close(handle)


def _take(folder: Path) -> tuple[int, str]:
    """Open the lock file, lock it and write down who did."""
    path, note = folder / LOCK, ''
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            continue  # its last holder has just removed the empty folder
        try:
            try:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    raise TrainingError(_held_by(handle, folder)) from error
                if error.errno not in UNSUPPORTED:
                    raise
                note = (
                    f'{folder}: its file system has no locks ({error.strerror}); '
                    f'see to it that no other process trains in this folder'
                )
            if not os.fstat(handle).st_nlink:
                os.close(handle)
                continue
            now = datetime.now(timezone.utc).isoformat(timespec='seconds')
            os.ftruncate(handle, 0)
            os.write(
                handle, f'host {socket.gethostname()}, pid {os.getpid()}, since {now}'.encode()
            )
        except BaseException:
            with suppress(OSError):
                os.close(handle)
            raise
        return handle, note


def _held_by(handle: int, folder: Path) -> str:
    """Say who holds the lock."""
    holder = sanitize_text(os.read(handle, 1000).decode(errors='replace')) or 'unknown'
    return (
        f'{folder}: another process trains in this folder ({holder}); '
        f'wait for its end, or choose another folder with --run'
    )
