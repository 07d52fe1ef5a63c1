"""Tests of the pacer."""

from threading import Event, Timer
import time

from mnssd_perception.sources import Pacer


def test_pacer_without_a_rate_never_waits():
    pacer = Pacer(None, Event())
    started = time.monotonic()
    assert all(pacer.wait() for _ in range(1000))
    assert time.monotonic() - started < 1


def test_first_frame_is_due_immediately():
    started = time.monotonic()
    assert Pacer(0.01, Event()).wait()
    assert time.monotonic() - started < 5


def test_pacer_keeps_the_rate():
    pacer, started = Pacer(100.0, Event()), time.monotonic()
    for _ in range(11):
        assert pacer.wait()
    assert time.monotonic() - started >= 0.099


def test_pacer_does_not_catch_up_after_a_late_frame():
    pacer = Pacer(50.0, Event())
    pacer.wait()
    time.sleep(0.1)  # a slow frame: five periods
    pacer.wait()
    late = time.monotonic()
    pacer.wait()
    pacer.wait()
    assert time.monotonic() - late >= 0.039


def test_stopping_ends_a_wait():
    stopping = Event()
    pacer, started = Pacer(0.001, stopping), time.monotonic()
    assert pacer.wait()
    timer = Timer(0.05, stopping.set)
    timer.start()
    assert not pacer.wait()
    assert time.monotonic() - started < 20
    timer.join()


def test_pacer_that_was_stopped_does_not_wait():
    stopping = Event()
    stopping.set()
    assert not Pacer(None, stopping).wait()
