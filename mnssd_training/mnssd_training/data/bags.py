"""Read the images of ROS 2 bags, without ROS."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
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
RAW = 'sensor_msgs/msg/Image'
IMAGE_TYPES = (RAW, 'sensor_msgs/msg/CompressedImage')


def is_bag(path: Path) -> bool:
    """Return whether a path is a folder as ``ros2 bag record`` makes it, or a file of one."""
    if path.is_dir():
        return (path / METADATA).exists() or any(
            child.suffix in STORAGE_SUFFIXES for child in path.iterdir()
        )
    return path.suffix in STORAGE_SUFFIXES


def list_image_topics(path: Path) -> dict[str, int]:
    """
    Count the messages of each topic of a bag that carries images, sorted by name.

    :param path: as :func:`is_bag` accepts.
    :raises DatasetError: if it is not a bag that can be read.
    """
    with closing(_open(path)) as reader:
        counts: Counter[str] = Counter()
        for connection in reader.connections:
            if connection.msgtype in IMAGE_TYPES:
                counts[connection.topic] += connection.msgcount
        return dict(sorted(counts.items()))


def read_bag_images(
    path: Path, topic: str | None = None
) -> Iterator[tuple[int, NDArray[np.uint8], str]]:
    """
    Read the images of a bag in the order in which they were recorded.

    The drone reads encodings the same way; see :mod:`mnssd_perception.encodings`.

    :param path: as :func:`is_bag` accepts.
    :param topic: None for the only one that carries images.
    :return: stamp of the image [ns], or when it was recorded where it has none;
        ``(H, W, 3)`` uint8 RGB; and the topic.
    :raises DatasetError: if the bag, the topic or an image cannot be read.
    """
    from rosbags.typesys import get_typestore, Stores

    topics = list_image_topics(path)
    available = ', '.join(topics) or 'none'
    if topic is None:
        if len(topics) != 1:
            hint = '; name one of them' if topics else ''
            raise DatasetError(path, f'expected one topic with images, got {available}{hint}')
        (topic,) = topics
    elif topic not in topics:
        raise DatasetError(path, f'no topic {topic!r} with images; there are: {available}')
    types = get_typestore(Stores.ROS2_HUMBLE)  # images are the same in every distribution
    with closing(_open(path)) as reader:
        connections = [
            c for c in reader.connections if c.topic == topic and c.msgtype in IMAGE_TYPES
        ]
        messages = reader.messages(connections=connections)
        for index in count():
            location = f'{topic}, message {index}'
            item = _call_reader(path, location, next, messages, None)
            if item is None:
                return
            connection, recorded_ns, content = item
            message_type = connection.msgtype
            message = _call_reader(path, location, types.deserialize_cdr, content, message_type)
            try:
                if message_type == RAW:
                    image = convert(message)
                else:
                    encoded = np.asarray(message.data, np.uint8).tobytes()
                    image = decode_image(encoded, f'compressed as {message.format}')
            except ImageError as error:
                raise DatasetError(path, f'{location}: {error}') from error
            stamp = message.header.stamp
            yield stamp.sec * 10**9 + stamp.nanosec or recorded_ns, image, topic


def _open(path: Path) -> Any:
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
    reader = _call_reader(path, 'opening', Reader, path)
    _call_reader(path, 'opening', reader.open)
    return reader


def _call_reader(path: Path, location: str, action: Callable[..., Any], *arguments: Any) -> Any:
    """Call rosbags; raise whatever it raises for a damaged bag as a :class:`DatasetError`."""
    try:
        return action(*arguments)
    except Exception as error:  # rosbags, SQLite, zstd and struct have no common error
        reason = sanitize_text(error) or type(error).__name__
        reason = f'{location}: the bag is damaged or not supported: {reason}'
        raise DatasetError(path, reason) from error
