"""Bags written here, in both storages, read back."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
from mnssd_training.data.bags import is_bag, list_image_topics, read_bag_images
from mnssd_training.errors import DatasetError
import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

TYPES = get_typestore(Stores.ROS2_HUMBLE)
Header = TYPES.types['std_msgs/msg/Header']
Image = TYPES.types['sensor_msgs/msg/Image']
CompressedImage = TYPES.types['sensor_msgs/msg/CompressedImage']
Text = TYPES.types['std_msgs/msg/String']
Time = TYPES.types['builtin_interfaces/msg/Time']

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
STORAGES = {'sqlite3': StoragePlugin.SQLITE3, 'mcap': StoragePlugin.MCAP}
TOPIC = '/camera/image'


def header(stamp_ns: int) -> Any:
    return Header(Time(stamp_ns // 10**9, stamp_ns % 10**9), 'camera')


def raw(
    pixels: np.ndarray, encoding: str, stamp_ns: int = 1, padding: int = 0, big: int = 0
) -> Any:
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    height, width = pixels.shape[:2]
    step = rows.shape[1]
    return Image(header(stamp_ns), height, width, encoding, big, step, rows.reshape(-1))


def compressed(image: np.ndarray, suffix: str, stamp_ns: int = 1) -> Any:
    """Compress RGB or grey as image_transport does."""
    bgr = image[..., ::-1] if image.ndim == 3 else image
    _, data = cv2.imencode(suffix, bgr)
    return CompressedImage(header(stamp_ns), f'bgr8; {suffix[1:]} compressed bgr8', data.ravel())


def write(
    path: Path,
    messages: Sequence[tuple[str, Any]],
    storage: str = 'sqlite3',
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    """Write a bag; the messages are recorded a second apart."""
    bag = Writer(path, version=9, storage_plugin=STORAGES[storage])
    bag.set_compression(compression, CompressionFormat.ZSTD)
    with bag:
        connections: dict[str, Any] = {}
        for number, (topic, message) in enumerate(messages, start=1):
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = bag.add_connection(topic, kind, typestore=TYPES)
            content = TYPES.serialize_cdr(message, kind)
            bag.write(connections[topic], number * 10**9, content)
    return path


def read_one(tmp_path: Path, message: Any, storage: str = 'mcap') -> np.ndarray:
    bag = write(tmp_path / 'bag', [(TOPIC, message)], storage)
    ((_, image, _),) = read_bag_images(bag)
    assert image.dtype == np.uint8
    return image


@pytest.mark.parametrize('storage', STORAGES)
def test_empty_bag_has_no_image_topic(tmp_path: Path, storage: str) -> None:
    bag = write(tmp_path / 'bag', [], storage)
    assert is_bag(bag)
    assert list_image_topics(bag) == {}
    with pytest.raises(DatasetError, match='expected one topic with images, got none'):
        list(read_bag_images(bag))


@pytest.mark.parametrize('storage', STORAGES)
@pytest.mark.parametrize('compression', [CompressionMode.NONE, CompressionMode.MESSAGE])
def test_images_are_read_in_recorded_order_with_their_stamps(
    tmp_path: Path, storage: str, compression: CompressionMode
) -> None:
    shades = [np.full((4, 6, 3), shade, np.uint8) for shade in (10, 20, 30)]
    stamps = [5 * 10**9 + 7, 4 * 10**9, 0]  # the last has none: when it was recorded counts
    messages = [(TOPIC, raw(*item)) for item in zip(shades, ['rgb8'] * 3, stamps)]
    messages.insert(1, ('/reason', Text('not an image')))
    bag = write(tmp_path / 'bag', messages, storage, compression)
    assert list_image_topics(bag) == {TOPIC: 3}
    found = list(read_bag_images(bag))
    assert [stamp for stamp, _, _ in found] == [5 * 10**9 + 7, 4 * 10**9, 4 * 10**9]
    assert [int(image.mean()) for _, image, _ in found] == [10, 20, 30]
    assert {topic for _, _, topic in found} == {TOPIC}


@pytest.mark.parametrize('storage', STORAGES)
def test_single_file_of_a_bag_is_read(tmp_path: Path, storage: str) -> None:
    bag = write(tmp_path / 'bag', [(TOPIC, raw(COLOURS, 'rgb8'))], storage)
    (file,) = (path for path in bag.iterdir() if path.suffix in ('.db3', '.mcap'))
    assert is_bag(file)
    assert len(list(read_bag_images(file))) == 1


def alpha(image: np.ndarray) -> np.ndarray:
    return np.dstack([image, np.full(image.shape[:2], 50, np.uint8)])


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize(
    ('encoding', 'change'),
    [
        ('rgb8', lambda image: image),
        ('bgr8', lambda image: image[..., ::-1]),
        ('rgba8', alpha),
        ('bgra8', lambda image: alpha(image[..., ::-1])),
    ],
    ids=['rgb8', 'bgr8', 'rgba8', 'bgra8'],
)
def test_colour_encodings_are_converted_to_rgb(
    tmp_path: Path, encoding: str, change: Callable[[np.ndarray], np.ndarray], padding: int
) -> None:
    image = read_one(tmp_path, raw(change(COLOURS), encoding, padding=padding))
    np.testing.assert_array_equal(image, COLOURS)


def test_mono8_is_converted_to_rgb(tmp_path: Path) -> None:
    image = read_one(tmp_path, raw(COLOURS[..., 0], 'mono8', padding=3))
    np.testing.assert_array_equal(image, np.dstack([COLOURS[..., 0]] * 3))


@pytest.mark.parametrize('encoding', ['mono16', '16UC1'])
@pytest.mark.parametrize('big', [0, 1])
def test_16_bit_images_are_stretched_to_8_bit(tmp_path: Path, encoding: str, big: int) -> None:
    greys = np.linspace(29000, 29300, 48).reshape(6, 8).astype('>u2' if big else '<u2')
    image = read_one(tmp_path, raw(greys, encoding, padding=2, big=big), 'sqlite3')
    assert image.shape == (6, 8, 3)
    assert (image.min(), image.max()) == (0, 255)
    assert (np.diff(image[..., 0].ravel().astype(int)) >= 0).all()


def test_yuv_and_bayer_encodings_are_converted(tmp_path: Path) -> None:
    red = np.tile(np.array([90, 81, 240, 81], np.uint8).reshape(1, 2, 2), (4, 3, 1))
    mosaic = np.tile(np.array([[200, 100], [100, 50]], np.uint8), (4, 4))
    for name, message, expected in (
        ('yuv', raw(red, 'yuv422'), (254, 0, 0)),
        ('bayer', raw(mosaic, 'bayer_rggb8'), (200, 100, 50)),
    ):
        image = read_one(tmp_path / name, message)
        np.testing.assert_allclose(image, np.broadcast_to(expected, image.shape), atol=3)


def test_compressed_images_are_decoded(tmp_path: Path) -> None:
    smooth = np.broadcast_to(np.array((200, 100, 50), np.uint8), (16, 16, 3))
    np.testing.assert_array_equal(read_one(tmp_path / 'png', compressed(COLOURS, '.png')), COLOURS)
    jpeg = read_one(tmp_path / 'jpg', compressed(smooth, '.jpg'))
    np.testing.assert_allclose(jpeg, smooth, atol=4)
    grey = read_one(tmp_path / 'grey', compressed(COLOURS[..., 0], '.png'))
    np.testing.assert_array_equal(grey, np.dstack([COLOURS[..., 0]] * 3))
    greys = np.linspace(29000, 29300, 48).astype(np.uint16).reshape(6, 8)
    thermal = read_one(tmp_path / 'thermal', compressed(greys, '.png'))
    assert (thermal.min(), thermal.max()) == (0, 255)


def test_topic_is_selected_by_name(tmp_path: Path) -> None:
    shades = {'/left': 10, '/right': 20}
    messages = [
        (topic, raw(np.full((4, 4, 3), shade, np.uint8), 'rgb8'))
        for topic, shade in shades.items()
    ]
    bag = write(tmp_path / 'bag', messages)
    for topic, shade in shades.items():
        ((_, image, name),) = read_bag_images(bag, topic)
        assert (int(image.mean()), name) == (shade, topic)
    with pytest.raises(DatasetError, match='expected one topic .* got /left, /right; name one'):
        list(read_bag_images(bag))
    with pytest.raises(DatasetError, match="no topic '/up' with images; there are: /left, /right"):
        list(read_bag_images(bag, '/up'))


# --- what goes wrong -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('message', 'reason'),
    [
        (raw(COLOURS, 'nv21'), "unknown image encoding 'nv21'"),
        (Image(header(1), 6, 8, 'rgb8', 0, 10, COLOURS.ravel()), 'expected a step of at least 24'),
        (Image(header(1), 9, 8, 'rgb8', 0, 24, COLOURS.ravel()), 'expected 216 bytes of data'),
        (
            CompressedImage(header(1), 'jpeg', np.zeros(0, np.uint8)),
            "'compressed as jpeg': not an image",
        ),
        (
            CompressedImage(header(1), 'h264', np.arange(99, dtype=np.uint8)),
            "'compressed as h264': not an image",
        ),
    ],
    ids=['encoding', 'step', 'rows', 'nothing', 'codec'],
)
def test_damaged_image_is_refused_with_topic_and_index(
    tmp_path: Path, message: Any, reason: str
) -> None:
    bag = write(tmp_path / 'bag', [(TOPIC, raw(COLOURS, 'rgb8')), (TOPIC, message)][-1:])
    with pytest.raises(DatasetError, match=f'{TOPIC}, message 0: .*{reason}'):
        list(read_bag_images(bag))


def test_truncated_jpeg_is_refused(tmp_path: Path) -> None:
    whole = compressed(np.tile(COLOURS, (8, 8, 1)), '.jpg')
    cut = CompressedImage(whole.header, whole.format, whole.data[:-200])
    bag = write(tmp_path / 'bag', [(TOPIC, whole), (TOPIC, cut)], 'mcap')
    with pytest.raises(DatasetError, match='message 1: .*a JPEG that is cut short'):
        list(read_bag_images(bag))


@pytest.mark.parametrize('storage', STORAGES)
def test_truncated_bag_is_refused(tmp_path: Path, storage: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    bag = write(tmp_path / 'bag', [(TOPIC, raw(noise, 'rgb8'))] * 8, storage)
    (file,) = (path for path in bag.iterdir() if path.suffix in ('.db3', '.mcap'))
    file.write_bytes(file.read_bytes()[:40000])
    with pytest.raises(DatasetError, match='the bag is damaged or not supported'):
        list(read_bag_images(bag))


def test_path_that_is_no_bag_is_refused(tmp_path: Path, hit_uav: Path) -> None:
    with pytest.raises(DatasetError, match='no such bag'):
        list_image_topics(tmp_path / 'gone')
    assert not is_bag(hit_uav)
    with pytest.raises(DatasetError, match='expected a bag: a folder with metadata.yaml'):
        list_image_topics(hit_uav)
    (tmp_path / 'metadata.yaml').write_text('[')
    with pytest.raises(DatasetError, match='opening: the bag is damaged'):
        list_image_topics(tmp_path)
    cut_off = write(tmp_path / 'bag', [(TOPIC, raw(COLOURS, 'rgb8'))], 'mcap')
    (cut_off / 'metadata.yaml').unlink()
    with pytest.raises(DatasetError, match=r'the recording was cut off; name the .mcap'):
        list_image_topics(cut_off)
