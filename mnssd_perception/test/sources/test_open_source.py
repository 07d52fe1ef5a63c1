"""Tests of URIs and what is opened for them."""

import cv2
from hypothesis import given, settings, strategies
from mnssd_perception.errors import SourceError
from mnssd_perception.sources import FrameSource, is_live, open_source
from mnssd_perception.sources.folder import FolderSource
from mnssd_perception.sources.open_source import STREAM_SCHEMES
from mnssd_perception.sources.synthetic import SyntheticSource
import numpy as np
import pytest


@pytest.mark.parametrize('uri', ['', '   ', '\n'])
def test_nothing(uri):
    with pytest.raises(SourceError, match='expected a source, got nothing'):
        open_source(uri)


@pytest.fixture
def image(tmp_path):
    """Write an image into a folder with a space in its name."""
    folder = tmp_path / 'my photos'
    folder.mkdir()
    cv2.imwrite(str(folder / 'a.png'), np.zeros((2, 2, 3), np.uint8))
    return folder / 'a.png'


def test_paths(image):
    percent = str(image.parent).replace(' ', '%20')
    for uri in (image, image.parent, f'file://{image}', f'file://{percent}', f' {image} '):
        source = open_source(str(uri), rate=4.0, loop=True)
        assert isinstance(source, FolderSource)
        assert source.rate == 4.0
        assert next(iter(source)).name == 'a.png'


def test_synthetic():
    source = open_source('Synthetic:frames=2,objects=0', rate=7.0)
    assert isinstance(source, SyntheticSource)
    assert source.rate == 7.0
    assert len(list(source)) == 2


@pytest.mark.parametrize('rate', [0.0, -1.0, 1001.0, float('nan'), float('inf')])
def test_rates_out_of_range(rate):
    with pytest.raises(SourceError, match='rate'):
        open_source('synthetic:', rate=rate)


@pytest.mark.parametrize(
    'uri',
    [
        '/nowhere/at/all', 'file:///nowhere', 'file://[', '~nobody-of-this-name/x', '987', '\0',
        '/dev/\0', 'v4l2://\0', 'v4l2:', 'v4l2:///dev/video987', 'synthetic:what=1',
        'gst:nonsense', 'gopher://camera', 'synthetic://', 'a' * 5000, '²', '\udcff',
    ],
    ids=lambda uri: ascii(uri[:20]),
)  # fmt: skip
def test_what_cannot_be_opened(uri):
    with pytest.raises(SourceError):
        open_source(uri)


def test_an_unknown_kind_of_file(tmp_path):
    (tmp_path / 'notes.txt').write_text('hello')
    with pytest.raises(SourceError, match='notes.txt'):
        open_source(str(tmp_path / 'notes.txt'))


def test_a_password_is_not_shown():
    with pytest.raises(SourceError) as caught:
        open_source('gopher://user:secret@camera')
    assert 'secret' not in str(caught.value)


def opens_a_network(text):
    scheme = text.strip().partition(':')[0].lower()
    return scheme in (*STREAM_SCHEMES, 'gst')


PREFIXES = strategies.sampled_from(
    ['', 'file://', 'file:', 'v4l2:', 'synthetic:', '~', '/dev/', 'x://', '/nowhere/']
)


@settings(deadline=None)
@given(PREFIXES, strategies.text(max_size=30))
def test_any_text_is_a_source_or_a_source_error(prefix, text):
    if opens_a_network(prefix + text):
        return
    try:
        source = open_source(prefix + text)
    except SourceError:
        return
    assert isinstance(source, FrameSource)
    source.close()


@pytest.mark.parametrize(
    ('uri', 'expected'),
    [
        ('', False), ('0', True), ('/dev/video0', True), ('v4l2:///dev/video0', True),
        (' rtsp://camera/1', True), ('HTTP://camera/1', True), ('gst:videotestsrc', True),
        ('synthetic:', False), ('/clips/a.mp4', False), ('file:///a.mp4', False), ('clip', False),
        ('gopher://camera', False),
    ],
)  # fmt: skip
def test_is_live(uri, expected):
    assert is_live(uri) == expected


@pytest.mark.parametrize('uri', ['/dev/video987', 'rtsp://localhost:1/'])
def test_a_live_source_may_come_later(uri):
    source = open_source(uri, retry=True)
    assert (source.rate, source.num_frames) == (None, 0)


def test_a_file_must_be_there():
    with pytest.raises(SourceError):
        open_source('/nowhere/at/all', retry=True)
