"""Ctrl-C to a wish that the training loop asks about between two steps."""

from collections.abc import Iterator
from contextlib import contextmanager
import signal
from threading import current_thread, Event, main_thread

__all__ = ['interruptible']


@contextmanager
def interruptible() -> Iterator[Event]:
    """
    Note the first Ctrl-C instead of raising wherever the program happens to be.

    An exception in the middle of torch's writer aborts the process, and one in a destructor is
    lost. A second Ctrl-C raises at once. Worker processes inherit this, and so survive the first.

    :return: is set by the first Ctrl-C; never outside the main thread.
    """
    wanted = Event()
    if current_thread() is not main_thread():
        yield wanted
        return

    def note(*_: object) -> None:
        if wanted.is_set():
            raise KeyboardInterrupt
        wanted.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield wanted
    finally:
        signal.signal(signal.SIGINT, before)
