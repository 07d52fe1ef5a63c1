"""Play frames at a constant rate."""

from threading import Event
import time


class Pacer:
    """Waits until the next frame is due, without drift and without catching up in a burst."""

    def __init__(self, rate: float | None, stopping: Event) -> None:
        self._period = 1 / rate if rate else 0.0
        self._stopping = stopping
        self._due = 0.0

    def wait(self) -> bool:
        """Wait for the next frame; the first one is due now. Return False when stopped."""
        now = time.monotonic()
        # A late frame delays all that follow; nobody wants old frames at double speed.
        self._due = max(self._due, now)
        is_stopped = self._stopping.wait(self._due - now)
        self._due += self._period
        return not is_stopped
