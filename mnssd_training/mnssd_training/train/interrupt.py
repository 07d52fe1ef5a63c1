"""SIGINT and SIGTERM to a wish that the training loop asks about between two steps."""

from collections.abc import Iterator
from contextlib import contextmanager
import signal
from threading import current_thread, main_thread
from types import FrameType

# Seconds that a loader's worker outlives a SIGTERM: enough for the step and the save, and it still
# goes when nobody is left to end it.
GRACE = 60


class Preempted(KeyboardInterrupt):
    """
    A signal ended the run, after a checkpoint was written.

    :ivar signum: which signal; the process exits with 128 + signum.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f'stopped by {signal.Signals(signum).name}; go on with --resume')
        self.signum = signum


class Stop:
    """
    Whether somebody wants the run to stop.

    :ivar signum: the signal that said so; 0 for none.
    """

    def __init__(self) -> None:
        self.signum = 0
        self._is_held, self._second = False, 0

    def note(self, signum: int, _: FrameType | None = None) -> None:
        """Note the first signal; raise at the second."""
        if not self.signum:
            self.signum = signum
        elif self._is_held:
            self._second = signum
        else:
            raise Preempted(signum)

    @contextmanager
    def held(self) -> Iterator[None]:
        """
        Put a second signal off while a file is written.

        :raises Preempted: afterwards, if there was one.
        """
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._second:
            raise Preempted(self._second)

    def check(self) -> None:
        """
        Stop here, where nothing is lost by it.

        :raises Preempted: if a signal has said so.
        """
        if self.signum:
            raise Preempted(self.signum)


@contextmanager
def interruptible() -> Iterator[Stop]:
    """
    Note the first SIGINT or SIGTERM instead of raising wherever the program happens to be.

    An exception in the middle of torch's writer aborts the process, and one in a destructor is
    lost. A second signal raises at once, or when a file that is being written is complete.

    :return: is told by the first signal; never outside the main thread.
    """
    stop = Stop()
    if current_thread() is not main_thread():
        yield stop
        return
    before = {
        number: signal.signal(number, stop.note) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def shield_worker(_: int) -> None:
    """
    Keep a loader's worker alive while the run finishes its step and saves.

    A terminal sends Ctrl-C, and a service manager SIGTERM, to all processes at once; a worker that
    went would tear the loop out of the save. The loader ends its workers by itself.

    :param _: number of the worker; this is a ``worker_init_fn``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))
