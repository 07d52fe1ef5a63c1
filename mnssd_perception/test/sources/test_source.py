"""Tests of the base class of sources and of the pacer."""

from threading import Event, Timer
import time

from mnssd_perception.errors import SourceError
from mnssd_perception.sources import Frame, FrameSource, Pacer
import numpy as np
import pytest

IMAGE = np.zeros((2, 2, 3), np.uint8)


class ListSource(FrameSource):
    """Plays a list of passes; each is a list of frame names."""

    def __init__(self, *passes, loop=False):
        super().__init__('list', rate=None, loop=loop, report=lambda message: None)
        self._passes = iter(passes)

    def _play(self):
        for name in next(self._passes):
            yield Frame(IMAGE, name)


def test_empty_source_is_an_error():
    with pytest.raises(SourceError, match='no readable frame'):
        list(ListSource([]))


def test_frames_are_played_in_order():
    source = ListSource(['a', 'b'], ['c'])
    assert [frame.name for frame in source] == ['a', 'b']
    assert source.num_frames == 2


def test_loop_repeats_until_closed():
    source = ListSource(*[['a', 'b']] * 3, loop=True)
    names = []
    for frame in source:
        names.append(frame.name)
        if len(names) == 5:
            source.close()
    assert names == ['a', 'b', 'a', 'b', 'a']


def test_pass_without_frames_is_an_error_in_a_loop():
    source = ListSource(['a'], [], loop=True)
    with pytest.raises(SourceError):
        list(source)


def test_closed_source_yields_nothing():
    source = ListSource(['a'])
    source.close()
    source.close()
    assert list(source) == []


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
