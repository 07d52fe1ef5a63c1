"""Open files, folders, videos, cameras, URLs and bags as streams of RGB frames."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
import itertools
import os
from pathlib import Path, PurePosixPath
import re
import time
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

from mnssd_perception.encodings import array_to_rgb
from mnssd_perception.errors import ImageFileError, SourceError
from mnssd_perception.image_file import decode_image, IMAGE_SUFFIXES
from mnssd_perception.sources import FrameSource, open_source
from mnssd_perception.sources.folder import FolderSource
from mnssd_perception.text import mask_secrets
from mnssd_training.data.bags import is_bag, read_bag_images
import numpy as np
from numpy.typing import NDArray

NS = 10**9
TIMEOUT = 10.0  # seconds, of a server that does not answer
MAX_BYTES = 256 << 20  # of one image behind a URL


@dataclass(frozen=True)
class Frame:
    """One image."""

    name: str  # of the file, or the number of the frame
    image: NDArray[np.uint8]  # (H, W, 3) RGB
    stamp_ns: int | None = None  # from any origin; None for a still image


@dataclass(frozen=True)
class FrameStream:
    """The frames of one source."""

    uri: str  # without its password
    stem: str  # file name for the output of moving images
    paths: tuple[Path, ...]  # image files that are read, which must not be overwritten
    frames: Generator[Frame, None, None]


def open_frames(uri: str, topic: str | None, report: Callable[[str], None]) -> FrameStream:
    """
    Open a source of frames.

    :param uri: an image, a folder of images, a video, ``0`` or ``/dev/video0``, the URL of an
        image or a stream, a bag, or anything else that the drone's camera node plays.
    :param topic: of a bag; None for the only one with images.
    :param report: is called with a message about every problem that can be survived.
    :raises MnssdError: if there are no frames.
    """
    path = Path(uri)
    # pathlib raises for a path that may not be looked at
    if '://' not in uri and os.path.exists(uri) and is_bag(path):  # noqa: PTH110
        frames = (
            Frame(str(number), image, stamp_ns)
            for number, (stamp_ns, image, _) in enumerate(read_bag_images(path, topic), start=1)
        )
        return FrameStream(uri, path.resolve().stem, (), frames)
    shown = mask_secrets(uri)
    if uri.startswith(('http://', 'https://')):
        name = unquote(PurePosixPath(urlsplit(uri).path).name)
        if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
            frames = (Frame(name, _download(url, shown)) for url in (uri,))
            return FrameStream(shown, PurePosixPath(name).stem, (), frames)

    def report_and_stop(message: str) -> None:
        # A camera that is lost would be opened again, and the video would begin anew.
        report(message)
        if source is not None and source.rate is None:
            source.close()

    source: FrameSource | None = None
    source = open_source(uri, report=report_and_stop)
    stem = re.sub(r'[^A-Za-z0-9_.-]+', '_', PurePosixPath(urlsplit(shown).path).stem) or 'camera'
    if isinstance(source, FolderSource):
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        images = tuple(file for file in files if file.suffix.lower() in IMAGE_SUFFIXES)
        frames = (Frame(frame.name, array_to_rgb(frame.image)) for frame in source)
        return FrameStream(shown, stem, images, frames)
    stamps_ns = (
        itertools.count(0, round(NS / source.rate)) if source.rate else iter(time.monotonic_ns, -1)
    )
    frames = (
        Frame(str(number), array_to_rgb(frame.image), next(stamps_ns))
        for number, frame in enumerate(source, start=1)
    )
    return FrameStream(shown, stem, (path,), frames)


def _download(url: str, shown: str) -> NDArray[np.uint8]:
    try:
        with urlopen(url, timeout=TIMEOUT) as response:
            content = response.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot fetch '{shown}': {getattr(error, 'reason', error)}") from error
    if len(content) > MAX_BYTES:
        raise SourceError(f"expected an image of at most {MAX_BYTES} bytes: '{shown}'")
    try:
        return decode_image(content, shown)
    except ImageFileError as error:
        raise SourceError(f"cannot use '{shown}': {error.reason}") from error
