"""Hands the newest item from one thread to another."""

from threading import Condition
from typing import Generic, TypeVar

T = TypeVar('T')


class Mailbox(Generic[T]):
    """
    A mailbox with one slot: a newer item replaces the one that nobody has taken yet.

    A detector that is slower than its camera so works on the newest frame and never on a queue
    of old ones. Every replaced item is counted, and every item put in is taken, dropped or still
    in the slot. Items must not be None.
    """

    def __init__(self) -> None:
        self._condition = Condition()
        self._item: T | None = None
        self._closed = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Count the items that were put in and can never be taken."""
        with self._condition:
            return self._dropped

    def put(self, item: T) -> None:
        """
        Leave an item for the taker, in place of an older one; never blocks.

        :param item: the item; a closed mailbox drops it.
        """
        with self._condition:
            if self._closed:
                self._dropped += 1
                return
            if self._item is not None:
                self._dropped += 1
            self._item = item
            self._condition.notify()

    def take(self, timeout: float | None = None) -> T | None:
        """
        Wait for an item and take it out.

        :param timeout: how long to wait [s]; None waits until an item or the end comes.
        :return: the item, or None when the time is over or the mailbox is closed.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed, timeout)
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Drop what lies in the slot and wake the taker; closing twice is harmless."""
        with self._condition:
            self._closed = True
            if self._item is not None:
                self._item = None
                self._dropped += 1
            self._condition.notify_all()
