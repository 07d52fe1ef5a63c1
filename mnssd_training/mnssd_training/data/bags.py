"""A ROS 2 bag to its images, without ROS."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from mnssd_perception.encodings import convert
from mnssd_perception.errors import ImageError
from mnssd_perception.image_file import decode_image
from mnssd_perception.text import sanitize_text
from mnssd_training.errors import DatasetError
import numpy as np
from numpy.typing import NDArray

STORAGE_SUFFIXES = ('.db3', '.mcap')
METADATA = 'metadata.yaml'
NS = 10**9

RAW, COMPRESSED = KINDS = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')


def is_bag(path: Path) -> bool:
    """
    Tell whether a path is a bag: a folder as ``ros2 bag record`` makes it, or one file of such.

    :param path: any path.
    :return: whether it looks like one.
    """
    if path.is_dir():
        return (path / METADATA).exists() or any(
            child.suffix in STORAGE_SUFFIXES for child in path.iterdir()
        )
    return path.suffix in STORAGE_SUFFIXES


def image_topics(path: Path) -> dict[str, int]:
    """
    List the topics of a bag that carry images.

    :param path: folder of the bag (sqlite3 or mcap), or one of its files.
    :return: topic to number of messages, in the order of their names.
    :raises DatasetError: if it is not a bag that can be read.
    """
    reader = _open(path)
    try:
        counts: dict[str, int] = {}
        for one in reader.connections:
            if one.msgtype in KINDS:
                counts[one.topic] = counts.get(one.topic, 0) + one.msgcount
        return dict(sorted(counts.items()))
    finally:
        reader.close()


def read_bag_images(
    path: Path, topic: str | None = None
) -> Iterator[tuple[int, NDArray[np.uint8], str]]:
    """
    Read the images of a bag in the order in which they were recorded.

    The drone reads encodings the same way; see :mod:`mnssd_perception.encodings`.

    :param path: folder of the bag (sqlite3 or mcap), or one of its files.
    :param topic: which to read; None for the only one that carries images.
    :return: stamp of the image [ns], or when it was recorded where it has none;
        ``(H, W, 3)`` uint8 RGB; and the topic.
    :raises DatasetError: if the bag, the topic or an image cannot be read.
    """
    from rosbags.typesys import get_typestore, Stores

    wanted = _choose(path, topic)
    types = get_typestore(Stores.ROS2_HUMBLE)  # images are the same in every distribution
    reader = _open(path)
    try:
        connections = [
            one for one in reader.connections if one.topic == wanted and one.msgtype in KINDS
        ]
        messages = reader.messages(connections=connections)
        for index in count():
            where = f'{wanted}, message {index}'
            item = _guarded(path, where, next, messages, None)
            if item is None:
                return
            connection, recorded_ns, content = item
            kind = connection.msgtype
            message = _guarded(path, where, types.deserialize_cdr, content, kind)
            try:
                image = convert(message) if kind == RAW else _decompress(message)
            except ImageError as error:
                raise DatasetError(path, f'{where}: {error}') from error
            stamp = message.header.stamp
            yield stamp.sec * NS + stamp.nanosec or recorded_ns, image, wanted
    finally:
        reader.close()


def _choose(path: Path, topic: str | None) -> str:
    """Take the topic that is asked for, or the only one."""
    topics = image_topics(path)
    known = ', '.join(topics) or 'none'
    if topic is None:
        if len(topics) != 1:
            hint = '; name one of them' if topics else ''
            raise DatasetError(path, f'expected one topic with images, got {known}{hint}')
        return next(iter(topics))
    if topic not in topics:
        raise DatasetError(path, f'no topic {topic!r} with images; there are: {known}')
    return topic


def _open(path: Path) -> Any:
    """Open a bag or say why not."""
    from rosbags.rosbag2 import Reader

    if not path.exists():
        raise DatasetError(path, 'no such bag')
    if not is_bag(path):
        raise DatasetError(
            path, f'expected a bag: a folder with {METADATA}, or a .db3 or .mcap file'
        )
    if path.is_dir() and not (path / METADATA).exists():
        raise DatasetError(
            path, f'no {METADATA}, the recording was cut off; name the .mcap or .db3 file in it'
        )
    reader = _guarded(path, 'opening', Reader, path)
    _guarded(path, 'opening', reader.open)
    return reader


def _guarded(path: Path, where: str, action: Callable[..., Any], *arguments: Any) -> Any:
    """Put whatever a damaged bag leads its reader to into words."""
    try:
        return action(*arguments)
    except Exception as error:  # rosbags, SQLite, zstd and struct have no common error
        words = sanitize_text(error) or type(error).__name__
        raise DatasetError(path, f'{where}: the bag is damaged or unknown: {words}') from error


def _decompress(message: Any) -> NDArray[np.uint8]:
    """Read a compressed image as the drone would see the camera's own."""
    encoded = np.asarray(message.data, np.uint8).tobytes()
    return decode_image(encoded, f'compressed as {message.format}')
