"""Tests of the base class of sources."""

from mnssd_perception.errors import SourceError
from mnssd_perception.sources import Frame, FrameSource
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
