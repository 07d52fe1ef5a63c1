"""Tests of a video file as a camera."""

import cv2
from mnssd_perception.errors import SourceError
from mnssd_perception.sources.video import VideoSource
import numpy as np
import pytest


@pytest.fixture
def video(tmp_path):
    """Write ten frames that brighten, at 25 Hz."""
    path = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 25.0, (32, 16))
    if not writer.isOpened():
        pytest.skip('this OpenCV cannot write videos')
    for level in range(0, 200, 20):
        writer.write(np.full((16, 32, 3), level, np.uint8))
    writer.release()
    return path


def test_an_empty_file(tmp_path):
    path = tmp_path / 'empty.mp4'
    path.touch()
    with pytest.raises(SourceError, match='empty file'):
        VideoSource(path)


@pytest.mark.parametrize('content', [b'\0', b'garbage' * 1000])
def test_a_damaged_file(tmp_path, content):
    path = tmp_path / 'damaged.mp4'
    path.write_bytes(content)
    with pytest.raises(SourceError, match='cannot decode'):
        VideoSource(path)


def test_a_file_that_is_gone(tmp_path):
    with pytest.raises(SourceError, match='no video'):
        VideoSource(tmp_path / 'gone.mp4')


def test_plays_the_frames_at_their_rate(video):
    source = VideoSource(video)
    assert source.rate == pytest.approx(25.0)
    frames = list(source)
    assert [frame.image.shape for frame in frames] == [(16, 32, 3)] * 10
    levels = [frame.image.mean() for frame in frames]
    np.testing.assert_allclose(levels, range(0, 200, 20), atol=5)
    assert frames[2].name == 'clip.avi frame 3'
    assert source.num_problems == 0


def test_another_rate(video):
    assert VideoSource(video, rate=5.0).rate == 5.0


def test_loops(video):
    source = VideoSource(video, loop=True)
    names = []
    for frame in source:
        names.append(frame.name)
        if len(names) == 13:
            source.close()
    assert names[12] == 'clip.avi frame 3'


def test_a_file_that_breaks_off_is_reported(video):
    content = video.read_bytes()
    video.write_bytes(content[: len(content) // 2])
    sentences = []
    try:
        source = VideoSource(video, report=sentences.append)
        frames = list(source)
    except SourceError:
        return  # this OpenCV does not open it at all
    assert len(frames) < 10
    assert not sentences or 'truncated' in sentences[0]
