"""Turn SIGINT and SIGTERM into a request to stop, which the training loop checks between steps."""

from collections.abc import Iterator
from contextlib import contextmanager
import signal
from threading import current_thread, main_thread
from types import FrameType

# Seconds that a loader's worker survives a SIGTERM: enough for the step and the checkpoint, and it
# still ends when its parent is gone.
WORKER_GRACE = 60


class Preempted(KeyboardInterrupt):
    """A signal ended the run, after a checkpoint was written."""

    def __init__(self, signum: int, hint: str = 'continue with --resume') -> None:
        super().__init__(f'stopped by {signal.Signals(signum).name}; {hint}')
        self.signum = signum


class StopRequest:
    """A request to stop the run after the current step."""

    def __init__(self) -> None:
        self.signum = 0  # of the signal that requested it; 0 for none
        self._is_deferring, self._deferred_signum = False, 0

    def handle_signal(self, signum: int, _: FrameType | None = None) -> None:
        """Note the first signal; raise :class:`Preempted` at the second."""
        if not self.signum:
            self.signum = signum
        elif self._is_deferring:
            self._deferred_signum = signum
        else:
            raise Preempted(signum)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Defer a second signal while a file is written; raise :class:`Preempted` afterwards."""
        self._is_deferring = True
        try:
            yield
        finally:
            self._is_deferring = False
        if self._deferred_signum:
            raise Preempted(self._deferred_signum)

    def check(self) -> None:
        """Raise :class:`Preempted` if a signal has arrived; call it where nothing is lost."""
        if self.signum:
            raise Preempted(self.signum)


@contextmanager
def handle_signals() -> Iterator[StopRequest]:
    """
    Turn the first SIGINT or SIGTERM into a request instead of an exception at an arbitrary place.

    An exception in the middle of torch's writer aborts the process, and one in a destructor is
    lost. A second signal raises at once, or when the file being written is complete. Outside the
    main thread, no signal is handled.
    """
    stop = StopRequest()
    signals = (signal.SIGINT, signal.SIGTERM) if current_thread() is main_thread() else ()
    handlers = {signum: signal.signal(signum, stop.handle_signal) for signum in signals}
    try:
        yield stop
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)


def shield_worker(_: int) -> None:
    """
    Keep a loader's worker alive while the run finishes its step and saves; a ``worker_init_fn``.

    A terminal sends Ctrl-C, and a service manager SIGTERM, to all processes at once; a worker that
    ended would interrupt the save. The loader ends its workers itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(WORKER_GRACE))
