"""Tests of what all sources share."""

from mnssd_perception.errors import SourceError
from mnssd_perception.sources import Frame, FrameSource
import numpy as np
import pytest

IMAGE = np.zeros((2, 2, 3), np.uint8)


class ListSource(FrameSource):
    """Plays a list of passes; each is a list of frame names."""

    def __init__(self, *passes, loop=False):
        super().__init__('list', rate=None, loop=loop, report=lambda sentence: None)
        self._passes = iter(passes)

    def _play(self):
        for name in next(self._passes):
            yield Frame(IMAGE, name)


def test_an_empty_source_is_an_error():
    with pytest.raises(SourceError, match='no readable frame'):
        list(ListSource([]))


def test_frames_in_order():
    source = ListSource(['a', 'b'], ['c'])
    assert [frame.name for frame in source] == ['a', 'b']
    assert source.num_frames == 2


def test_loops_until_closed():
    source = ListSource(*[['a', 'b']] * 3, loop=True)
    names = []
    for frame in source:
        names.append(frame.name)
        if len(names) == 5:
            source.close()
    assert names == ['a', 'b', 'a', 'b', 'a']


def test_a_pass_without_frames_ends_a_loop():
    source = ListSource(['a'], [], loop=True)
    with pytest.raises(SourceError):
        list(source)


def test_a_closed_source_gives_nothing():
    source = ListSource(['a'])
    source.close()
    source.close()
    assert list(source) == []


def test_with_closes():
    with ListSource(['a', 'b']) as source:
        frames = iter(source)
        assert next(frames).name == 'a'
    assert next(frames, None) is None
