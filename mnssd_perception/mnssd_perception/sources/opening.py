"""A URI to the source behind it."""

from collections.abc import Callable
from pathlib import Path
import re
from urllib.parse import unquote, urlsplit

from mnssd_perception.errors import SourceError
from mnssd_perception.image_file import IMAGE_SUFFIXES
from mnssd_perception.sources.folder import FolderSource
from mnssd_perception.sources.live import (
    DeviceSource,
    PipelineSource,
    StreamSource,
)
from mnssd_perception.sources.source import FrameSource
from mnssd_perception.sources.synthetic import SyntheticOptions, SyntheticSource
from mnssd_perception.sources.video import VIDEO_SUFFIXES, VideoSource

STREAM_SCHEMES = ('http', 'https', 'rtmp', 'rtp', 'rtsp', 'rtsps', 'srt', 'tcp', 'udp')

KNOWN = (
    'a folder of images, an image or video file, /dev/video0 or 0, '
    'rtsp:// or http:// and the like, gst:<pipeline>, synthetic:'
)


def open_source(
    uri: str,
    *,
    rate: float | None = None,
    loop: bool = False,
    size: tuple[int, int] | None = None,
    fourcc: str = 'MJPG',
    retry: bool = False,
    report: Callable[[str], None] = lambda sentence: None,
) -> FrameSource:
    """
    Open the camera behind a URI.

    :param uri: a folder, an image, a video file (or ``file://``), a camera (``/dev/video0``,
        ``v4l2:///dev/video0`` or ``0``), a stream (``rtsp://…``), ``gst:<pipeline>`` or
        ``synthetic:width=640,height=512,frames=0,objects=6,seed=0``.
    :param rate: frames a second; None for the source's own.
    :param loop: whether to start over at the end; cameras have no end.
    :param size: (width, height) to ask a V4L2 camera for.
    :param fourcc: pixel format to ask a V4L2 camera for; '' for its default.
    :param retry: whether a camera or stream that is missing is tried again, like one that is lost
        later; a file must always be there.
    :param report: is called with a sentence for everything that is wrong and survived.
    :return: the source.
    :raises SourceError: when there is nothing to play behind the URI.
    """
    if rate is not None and not 0 < rate <= 1000:
        raise SourceError(f'expected a rate above 0 and up to 1000 Hz, got {rate}')
    uri = uri.strip()
    kind, rest = _kind(uri)
    if kind == 'synthetic':
        options = SyntheticOptions.parse(rest)
        return SyntheticSource(options, rate=rate, loop=loop, report=report)
    if kind == 'gst':
        return PipelineSource(rest, retry=retry, report=report)
    if kind == 'stream':
        return StreamSource(uri, retry=retry, report=report)
    if kind == 'device':
        path = Path(f'/dev/video{rest}' if rest.isdecimal() else rest)
        return DeviceSource(path, size=size, fourcc=fourcc, rate=rate, retry=retry, report=report)
    if kind == 'unknown':
        raise SourceError(f"unknown source '{uri}'; known are {KNOWN}")
    if not uri:
        raise SourceError(f'expected a source, got nothing; known are {KNOWN}')
    try:
        path = Path(unquote(urlsplit(uri).path)) if kind == 'file' else Path(uri).expanduser()
    except (RuntimeError, ValueError) as error:  # a home of nobody; brackets in file://
        raise SourceError(f"cannot look at '{uri}': {error}") from error
    return _open_path(path, rate, loop, report)


def is_live(uri: str) -> bool:
    """
    Tell a camera or a stream, which may be missing for a while, from what plays to its end.

    :param uri: as for :func:`open_source`; it is not opened.
    :return: whether it is a camera, a stream or a pipeline.
    """
    return _kind(uri.strip())[0] in ('device', 'gst', 'stream')


def _kind(uri: str) -> tuple[str, str]:
    """Name the kind of source, and return what follows the scheme or all where there is none."""
    scheme, colon, rest = uri.partition(':')
    scheme = scheme.lower() if colon else ''
    if scheme in ('synthetic', 'gst', 'file'):
        return scheme, rest
    if scheme in STREAM_SCHEMES and rest.startswith('//'):
        return 'stream', rest
    if scheme == 'v4l2':
        return 'device', rest.removeprefix('//')
    if uri.isdecimal() or uri.startswith('/dev/'):
        return 'device', uri
    is_foreign = re.match(r'[a-z][a-z0-9+.-]*://', uri, re.IGNORECASE)
    return ('unknown' if is_foreign else 'path'), uri


def _open_path(
    path: Path, rate: float | None, loop: bool, report: Callable[[str], None]
) -> FrameSource:
    """Open what lies at a path."""
    suffix = path.suffix.lower()
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot look at '{path}': {error}") from error
    if not (is_folder or is_file):
        raise SourceError(f"no source '{path}': the path does not exist; known are {KNOWN}")
    if is_folder or suffix in IMAGE_SUFFIXES:
        return FolderSource(path, rate=rate, loop=loop, report=report)
    if suffix in VIDEO_SUFFIXES:
        return VideoSource(path, rate=rate, loop=loop, report=report)
    raise SourceError(
        f'expected an image ({", ".join(IMAGE_SUFFIXES)}) or a video '
        f"({', '.join(VIDEO_SUFFIXES)}), got '{path}'"
    )
