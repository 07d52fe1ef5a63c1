"""Pass the newest item from one thread to another."""

from threading import Condition
from typing import Generic, TypeVar

T = TypeVar('T')


class Mailbox(Generic[T]):
    """
    A mailbox with one slot: a newer item replaces the one that was not taken yet.

    A detector that is slower than its camera thus processes the newest frame, never a queue of old
    ones. Every item put in is taken, dropped and counted, or still in the slot. Items must not be
    None.
    """

    def __init__(self) -> None:
        self._condition = Condition()
        self._item: T | None = None
        self._closed = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Number of items that were put in and can never be taken."""
        with self._condition:
            return self._dropped

    def put(self, item: T) -> None:
        """Replace the item in the slot; never blocks. A closed mailbox drops the item."""
        with self._condition:
            if self._closed or self._item is not None:
                self._dropped += 1
            if not self._closed:
                self._item = item
                self._condition.notify()

    def take(self, timeout: float | None = None) -> T | None:
        """
        Wait for an item and take it.

        :param timeout: longest wait [s]; None for no limit.
        :return: None after the timeout or when the mailbox is closed.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed, timeout)
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Drop the item in the slot and wake the taker; closing twice is harmless."""
        with self._condition:
            self._closed = True
            if self._item is not None:
                self._item = None
                self._dropped += 1
            self._condition.notify_all()
