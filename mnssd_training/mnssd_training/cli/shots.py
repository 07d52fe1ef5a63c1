"""What a user names to images: files, folders, videos, cameras, addresses and bags."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
import itertools
import os
from pathlib import Path, PurePosixPath
import re
import time
from urllib.error import URLError
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
TIMEOUT = 10.0  # seconds, of an address that does not answer
MOST_BYTES = 256 << 20  # of one image behind an address

Report = Callable[[str], None]


@dataclass(frozen=True)
class Shot:
    """
    One image to look at.

    :ivar name: of the file, or the number of the frame.
    :ivar image: ``(H, W, 3)`` uint8 RGB.
    :ivar stamp_ns: when it was taken, counted from any moment [ns]; None for a still image.
    """

    name: str
    image: NDArray[np.uint8]
    stamp_ns: int | None = None


@dataclass(frozen=True)
class Shots:
    """
    Images of one source.

    :ivar source: what was named, without its password.
    :ivar stem: what the output of moving images is called.
    :ivar paths: the files that are read, which nobody may write over.
    :ivar images: one after the other.
    """

    source: str
    stem: str
    paths: tuple[Path, ...]
    images: Generator[Shot, None, None]


def open_shots(place: str, topic: str | None, report: Report) -> Shots:
    """
    Open what is named on the command line.

    :param place: an image, a folder of images, a video, ``0`` or ``/dev/video0``, the address of
        an image or a stream, a bag, or anything else that the drone's camera node plays.
    :param topic: of a bag; None for the only one with images.
    :param report: is called with a sentence for everything that is wrong and survived.
    :return: the images.
    :raises MnssdError: if there is nothing to look at.
    """
    path = Path(place)
    # pathlib raises for a path that may not be looked at
    if '://' not in place and os.path.exists(place) and is_bag(path):  # noqa: PTH110
        images = (
            Shot(str(number), image, stamp)
            for number, (stamp, image, _) in enumerate(read_bag_images(path, topic), start=1)
        )
        return Shots(place, path.resolve().stem, (), images)
    if place.startswith(('http://', 'https://')):
        name = unquote(PurePosixPath(urlsplit(place).path).name)
        if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
            shown = mask_secrets(place)
            stills = (Shot(name, _download(one, shown)) for one in (place,))
            return Shots(shown, PurePosixPath(name).stem, (), stills)
    return _play(place, report)


def _play(place: str, report: Report) -> Shots:
    """Open what the drone's camera node plays too."""
    opened: list[FrameSource] = []

    def told(sentence: str) -> None:
        """End a camera that is lost: it would be opened again, and a film would begin anew."""
        report(sentence)
        if opened and opened[0].rate is None:
            opened[0].close()

    source = open_source(place, report=told)
    opened.append(source)
    shown = mask_secrets(place)
    stem = re.sub(r'[^A-Za-z0-9_.-]+', '_', PurePosixPath(urlsplit(shown).path).stem) or 'camera'
    if isinstance(source, FolderSource):
        path = Path(place)
        stills = (Shot(frame.name, array_to_rgb(frame.image)) for frame in source)
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        paths = tuple(one for one in inside if one.suffix.lower() in IMAGE_SUFFIXES)
        return Shots(shown, stem, paths, stills)
    moments = (
        itertools.count(0, round(NS / source.rate)) if source.rate else iter(time.monotonic_ns, -1)
    )
    moving = (
        Shot(str(number), array_to_rgb(frame.image), next(moments))
        for number, frame in enumerate(source, start=1)
    )
    return Shots(shown, stem, (Path(place),), moving)


def _download(address: str, shown: str) -> NDArray[np.uint8]:
    """Fetch one image."""
    try:
        with urlopen(address, timeout=TIMEOUT) as answer:
            content = answer.read(MOST_BYTES + 1)
    except (OSError, URLError, ValueError) as error:
        reason = getattr(error, 'reason', error)
        raise SourceError(f"cannot fetch '{shown}': {reason}") from error
    if len(content) > MOST_BYTES:
        raise SourceError(f"expected an image of at most {MOST_BYTES} bytes: '{shown}'")
    try:
        return decode_image(content, shown)
    except ImageFileError as error:
        raise SourceError(f"cannot use '{shown}': {error.reason}") from error
