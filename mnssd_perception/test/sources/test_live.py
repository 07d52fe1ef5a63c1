"""Tests of live sources, with fake captures."""

from itertools import islice
from pathlib import Path

from mnssd_perception.errors import SourceError
from mnssd_perception.sources import live
from mnssd_perception.sources.live import LiveSource, open_device, open_pipeline
import numpy as np
import pytest


class Capture:
    """Returns some frames and is then lost."""

    def __init__(self, num_frames):
        self.num_left, self.released = num_frames, False

    def read(self):
        self.num_left -= 1
        return (True, np.zeros((2, 2, 3), np.uint8)) if self.num_left >= 0 else (False, None)

    def release(self):
        self.released = True


def make_source(*captures, retry=False, report=lambda message: None):
    """Make a source that opens some captures, of which None cannot be opened."""
    remaining = iter(captures)

    def open_capture():
        capture = next(remaining)
        if capture is None:
            raise SourceError('cannot open fake')
        return capture

    return LiveSource('fake', open_capture, retry=retry, report=report)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Do not wait long."""
    monkeypatch.setattr(live, 'FIRST_WAIT', 0.001)
    monkeypatch.setattr(live, 'LONGEST_WAIT', 0.004)


def test_missing_camera_without_retry_is_an_error():
    with pytest.raises(SourceError, match='cannot open fake'):
        make_source(None)


def test_missing_camera_with_retry_is_retried():
    messages = []
    source = make_source(*[None] * 5, Capture(1), retry=True, report=messages.append)
    assert messages == []
    frames = iter(source)
    assert next(frames).name == '1'
    assert source.num_retries == 5
    assert source.fault == ''
    assert len(messages) == 5
    assert all('cannot open fake; trying again' in message for message in messages)


def test_delays_grow_up_to_a_limit(monkeypatch):
    waits = []
    source = make_source(*[None] * 6, Capture(2), Capture(0), Capture(1), retry=True)
    monkeypatch.setattr(source._closing, 'wait', waits.append)
    assert len(list(islice(source, 3))) == 3
    # Six failures; the loss of a camera that has worked, and of one that then gives nothing.
    assert waits == [0.0, 0.001, 0.002, 0.004, 0.004, 0.004, 0.004, 0.001, 0.002]


def test_fault_explains_why_there_are_no_images():
    faults = []
    source = make_source(
        None,
        Capture(1),
        None,
        Capture(1),
        retry=True,
        report=lambda _: faults.append(source.fault),
    )
    for _ in islice(source, 2):
        assert source.fault == ''
    assert faults == ['cannot open fake', "lost 'fake' after 1 frames", 'cannot open fake']


def test_lost_camera_is_reopened():
    captures, messages = [Capture(2), None, None, None, Capture(0), Capture(2)], []
    source = make_source(*captures, report=messages.append)
    names = [frame.name for frame in islice(source, 4)]
    assert names == ['1', '2', '3', '4']
    assert captures[0].released
    assert captures[4].released
    assert 'lost' in messages[0]
    assert all('trying again in 0.0 s' in message for message in messages[1:4])
    assert len(messages) == 5


def test_close_releases_the_camera():
    capture = Capture(100)
    source = make_source(capture)
    for _ in source:
        source.close()
    assert capture.released


def test_close_ends_the_attempts():
    source = None

    def report(message):
        if 'trying again' in message:
            source.close()

    source = make_source(Capture(1), *[None] * 5, report=report)
    assert len(list(source)) == 1


@pytest.mark.parametrize('path', ['/dev/video987', '/dev/\0', '/', '/dev/shm'])
def test_path_that_is_no_device_is_an_error(path):
    with pytest.raises(SourceError):
        open_device(Path(path))


def test_regular_file_is_no_device(tmp_path):
    (tmp_path / 'video0').touch()
    with pytest.raises(SourceError, match='another kind of file'):
        open_device(tmp_path / 'video0')


def test_fourcc_must_have_four_characters():
    with pytest.raises(SourceError, match='fourcc'):
        open_device(Path('/dev/video0'), fourcc='MJPEG')


def test_missing_gstreamer_is_named(monkeypatch):
    monkeypatch.setattr(live.cv2, 'getBuildInformation', lambda: 'GStreamer:   NO')
    with pytest.raises(SourceError, match='GStreamer'):
        open_pipeline('videotestsrc')
