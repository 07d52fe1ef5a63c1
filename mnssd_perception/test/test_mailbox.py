"""Tests of the mailbox."""

from threading import Thread
import time

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.mailbox import Mailbox


def test_empty_mailbox_times_out() -> None:
    assert Mailbox[int]().take(timeout=0.01) is None


@settings(deadline=None)
@given(st.lists(st.sampled_from(['put', 'take', 'close']), max_size=40))
def test_mailbox_is_a_slot_that_counts_dropped_items(actions: list[str]) -> None:
    mailbox: Mailbox[int] = Mailbox()
    slot: int | None = None
    closed = False
    for number, action in enumerate(actions):
        if action == 'put':
            assert mailbox.put(number) == (closed or slot is not None)
            slot = None if closed else number
        elif action == 'take':
            assert mailbox.take(timeout=0) == slot
            slot = None
        else:
            assert mailbox.close() == (slot is not None)
            slot, closed = None, True


@settings(max_examples=20, deadline=None)
@given(num_puts=st.integers(0, 300), num_givers=st.integers(1, 4))
def test_every_item_is_taken_or_counted_between_threads(num_puts: int, num_givers: int) -> None:
    mailbox: Mailbox[tuple[int, int]] = Mailbox()
    taken: list[tuple[int, int]] = []
    dropped: list[int] = []

    def take() -> None:
        while (item := mailbox.take()) is not None:
            taken.append(item)

    def put(giver: int) -> None:
        for number in range(num_puts):
            dropped.append(mailbox.put((giver, number)))

    taker = Thread(target=take)
    givers = [Thread(target=put, args=(giver,)) for giver in range(num_givers)]
    for thread in (taker, *givers):
        thread.start()
    for thread in givers:
        thread.join(timeout=30)
    dropped.append(mailbox.close())
    taker.join(timeout=30)
    assert not taker.is_alive()
    assert len(taken) + sum(dropped) == num_puts * num_givers
    for giver in range(num_givers):
        numbers = [number for who, number in taken if who == giver]
        assert numbers == sorted(set(numbers))


def test_closing_wakes_the_taker() -> None:
    mailbox: Mailbox[int] = Mailbox()
    found: list[int | None] = [0]
    taker = Thread(target=lambda: found.append(mailbox.take()))
    taker.start()
    time.sleep(0.05)
    mailbox.close()
    taker.join(timeout=30)
    assert not taker.is_alive()
    assert found[-1] is None
