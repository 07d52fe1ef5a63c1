"""One setup at a time in a workspace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import fcntl
import os
from pathlib import Path
import time

from mnssd_workspace.errors import BusyError

__all__ = ['only_one']

_POLL = 0.05


@contextmanager
def only_one(root: Path, patience: float = 3.0) -> Iterator[None]:
    """
    Hold a workspace; the kernel lets go of it even if this process is killed.

    The lock is on the folder itself: there is no file that could be left behind. Commands on a
    leash inherit it, so that it is held until the last of a killed setup's commands is gone.

    :param root: of the workspace.
    :param patience: seconds to wait for it.
    :raises BusyError: if another process holds it.
    """
    folder = os.open(root, os.O_RDONLY)
    os.set_inheritable(folder, True)
    end = time.monotonic() + patience
    try:
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise BusyError(root) from error
                time.sleep(_POLL)
        yield
    finally:
        os.close(folder)
