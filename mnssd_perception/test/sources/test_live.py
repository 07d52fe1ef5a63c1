"""Tests of live sources, on a camera of paper."""

from itertools import islice
from pathlib import Path

from mnssd_perception.errors import SourceError
from mnssd_perception.sources import live
from mnssd_perception.sources.live import (
    DeviceSource,
    LiveSource,
    PipelineSource,
)
import numpy as np
import pytest


class Capture:
    """Gives some frames and is then lost."""

    def __init__(self, num_frames):
        self.num_left, self.released = num_frames, False

    def read(self):
        self.num_left -= 1
        return (True, np.zeros((2, 2, 3), np.uint8)) if self.num_left >= 0 else (False, None)

    def release(self):
        self.released = True


class PaperCamera(LiveSource):
    """Opens the captures that it is given; a None cannot be opened."""

    def __init__(self, *captures, retry=False, report=lambda sentence: None):
        self._captures = iter(captures)
        super().__init__('paper', retry=retry, report=report)

    def _open(self):
        capture = next(self._captures)
        if capture is None:
            raise SourceError('cannot open paper')
        return capture


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Do not wait long."""
    monkeypatch.setattr(live, 'FIRST_WAIT', 0.001)
    monkeypatch.setattr(live, 'LONGEST_WAIT', 0.004)


def test_must_be_there_at_the_start():
    with pytest.raises(SourceError, match='cannot open paper'):
        PaperCamera(None)


def test_one_that_is_missing_at_the_start_is_tried_again():
    sentences = []
    source = PaperCamera(*[None] * 5, Capture(1), retry=True, report=sentences.append)
    assert sentences == []
    frames = iter(source)
    assert next(frames).name == '1'
    assert source.num_retries == 5
    assert source.fault == ''
    assert len(sentences) == 5
    assert all('cannot open paper; trying again' in sentence for sentence in sentences)


def test_the_waits_grow_up_to_a_bound(monkeypatch):
    waits = []
    source = PaperCamera(*[None] * 6, Capture(2), Capture(0), Capture(1), retry=True)
    monkeypatch.setattr(source._closing, 'wait', waits.append)
    assert len(list(islice(source, 3))) == 3
    # Six failures; the loss of a camera that has worked, and of one that then gives nothing.
    assert waits == [0.0, 0.001, 0.002, 0.004, 0.004, 0.004, 0.004, 0.001, 0.002]


def test_the_fault_tells_why_there_are_no_images():
    faults = []
    source = PaperCamera(
        None,
        Capture(1),
        None,
        Capture(1),
        retry=True,
        report=lambda _: faults.append(source.fault),
    )
    for _ in islice(source, 2):
        assert source.fault == ''
    assert faults == ['cannot open paper', "lost 'paper' after 1 frames", 'cannot open paper']


def test_is_reopened_when_lost():
    captures, sentences = [Capture(2), None, None, None, Capture(0), Capture(2)], []
    source = PaperCamera(*captures, report=sentences.append)
    names = [frame.name for frame in islice(source, 4)]
    assert names == ['1', '2', '3', '4']
    assert source.num_losses == 2
    assert captures[0].released
    assert captures[4].released
    assert 'lost' in sentences[0]
    assert [sentence[-17:] for sentence in sentences[1:4]] == ['trying again in 0.0 s'[-17:]] * 3
    assert source.num_problems == 5


def test_gives_the_camera_back_when_closed():
    capture = Capture(100)
    source = PaperCamera(capture)
    for _ in source:
        source.close()
    assert capture.released


def test_closing_ends_the_attempts():
    source = None

    def report(sentence):
        if 'trying again' in sentence:
            source.close()

    source = PaperCamera(Capture(1), *[None] * 5, report=report)
    assert len(list(source)) == 1


@pytest.mark.parametrize('path', ['/dev/video987', '/dev/\0', '/', '/dev/shm'])
def test_a_device_that_is_none(path):
    with pytest.raises(SourceError):
        DeviceSource(Path(path))


def test_a_file_is_no_device(tmp_path):
    (tmp_path / 'video0').touch()
    with pytest.raises(SourceError, match='another kind of file'):
        DeviceSource(tmp_path / 'video0')


def test_a_fourcc_has_four_characters():
    with pytest.raises(SourceError, match='fourcc'):
        DeviceSource(Path('/dev/video0'), fourcc='MJPEG')


def test_gstreamer_is_asked_for_by_name(monkeypatch):
    monkeypatch.setattr(live.cv2, 'getBuildInformation', lambda: 'GStreamer:   NO')
    with pytest.raises(SourceError, match='GStreamer'):
        PipelineSource('videotestsrc')
