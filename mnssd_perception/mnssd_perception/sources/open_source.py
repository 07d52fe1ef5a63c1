"""Open the camera source that a URI names."""

from pathlib import Path
import re
from urllib.parse import unquote, urlsplit

from mnssd_perception.errors import SourceError
from mnssd_perception.image_file import IMAGE_SUFFIXES
from mnssd_perception.sources.folder import FolderSource
from mnssd_perception.sources.live import open_device, open_pipeline, open_stream
from mnssd_perception.sources.source import FrameSource, ignore, Report
from mnssd_perception.sources.synthetic import SyntheticOptions, SyntheticSource
from mnssd_perception.sources.video import VIDEO_SUFFIXES, VideoSource

STREAM_SCHEMES = ('http', 'https', 'rtmp', 'rtp', 'rtsp', 'rtsps', 'srt', 'tcp', 'udp')

SUPPORTED = (
    'supported: a folder of images, an image or video file, /dev/video0 or 0, '
    'rtsp://, http:// and other streams, gst:<pipeline>, synthetic:'
)


def open_source(
    uri: str,
    *,
    rate: float | None = None,
    loop: bool = False,
    size: tuple[int, int] | None = None,
    fourcc: str = 'MJPG',
    retry: bool = False,
    report: Report = ignore,
) -> FrameSource:
    """
    Open a camera source.

    :param uri: a folder, an image, a video file (or ``file://``), a camera (``/dev/video0``,
        ``v4l2:///dev/video0`` or ``0``), a stream (``rtsp://…``), ``gst:<pipeline>`` or
        ``synthetic:width=640,height=512,frames=0,objects=6,seed=0``.
    :param rate: frames per second; None for the rate of the source.
    :param size: (width, height) to request from a V4L2 camera.
    :param fourcc: pixel format to request from a V4L2 camera; '' for its default.
    :param retry: whether to retry a missing camera or stream; a file must always exist.
    :param report: is called with a message for each problem that the source recovers from.
    """
    if rate is not None and not 0 < rate <= 1000:
        raise SourceError(f'expected a rate above 0 and up to 1000 Hz, got {rate}')
    uri = uri.strip()
    scheme, target = _parse(uri)
    if scheme == 'synthetic':
        return SyntheticSource(SyntheticOptions.parse(target), rate=rate, loop=loop, report=report)
    if scheme == 'gst':
        return open_pipeline(target, retry=retry, report=report)
    if scheme == 'stream':
        return open_stream(uri, retry=retry, report=report)
    if scheme == 'device':
        path = Path(f'/dev/video{target}' if target.isdecimal() else target)
        return open_device(path, size=size, fourcc=fourcc, rate=rate, retry=retry, report=report)
    if scheme == 'unsupported':
        raise SourceError(f"unsupported source '{uri}'; {SUPPORTED}")
    if not uri:
        raise SourceError(f'expected a source, got nothing; {SUPPORTED}')
    try:
        path = Path(unquote(urlsplit(uri).path)) if scheme == 'file' else Path(uri).expanduser()
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # ~nobody, brackets in file://, b'\0'
        raise SourceError(f"cannot open '{uri}': {error}") from error
    suffix = path.suffix.lower()
    if not (is_folder or is_file):
        raise SourceError(f"no source '{path}': the path does not exist; {SUPPORTED}")
    if is_folder or suffix in IMAGE_SUFFIXES:
        return FolderSource(path, rate=rate, loop=loop, report=report)
    if suffix in VIDEO_SUFFIXES:
        return VideoSource(path, rate=rate, loop=loop, report=report)
    raise SourceError(
        f'expected an image ({", ".join(IMAGE_SUFFIXES)}) or a video '
        f"({', '.join(VIDEO_SUFFIXES)}), got '{path}'"
    )


def is_live(uri: str) -> bool:
    """Tell whether a URI names a camera, a stream or a pipeline; it is not opened."""
    return _parse(uri.strip())[0] in ('device', 'gst', 'stream')


def _parse(uri: str) -> tuple[str, str]:
    """Return the type of source, and what follows the scheme or all where there is none."""
    scheme, colon, target = uri.partition(':')
    scheme = scheme.lower() if colon else ''
    if scheme in ('synthetic', 'gst', 'file'):
        return scheme, target
    if scheme in STREAM_SCHEMES and target.startswith('//'):
        return 'stream', target
    if scheme == 'v4l2':
        return 'device', target.removeprefix('//')
    if uri.isdecimal() or uri.startswith('/dev/'):
        return 'device', uri
    has_scheme = re.match(r'[a-z][a-z0-9+.-]*://', uri, re.IGNORECASE)
    return ('unsupported' if has_scheme else 'path'), uri
