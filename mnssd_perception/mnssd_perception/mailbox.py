"""Pass the newest item from one thread to another."""

from threading import Condition
from typing import Generic, TypeVar

T = TypeVar('T')


class Mailbox(Generic[T]):
    """
    A mailbox with one slot: a newer item replaces the one that was not taken yet.

    A detector that is slower than its camera thus processes the newest frame, never a queue of old
    ones. Items must not be None.
    """

    def __init__(self) -> None:
        self._condition = Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> int:
        """
        Replace the item in the slot; never blocks.

        :return: number of items that this drops, 0 or 1; a closed mailbox drops the new one.
        """
        with self._condition:
            if self._closed:
                return 1
            num_dropped = int(self._item is not None)
            self._item = item
            self._condition.notify()
            return num_dropped

    def take(self, timeout: float | None = None) -> T | None:
        """Wait for an item [s] and take it; None after the timeout or in a closed mailbox."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed, timeout)
            item, self._item = self._item, None
            return item

    def close(self) -> int:
        """Wake the taker, drop the item in the slot and return how many that were, 0 or 1."""
        with self._condition:
            num_dropped = int(self._item is not None)
            self._closed, self._item = True, None
            self._condition.notify_all()
            return num_dropped
