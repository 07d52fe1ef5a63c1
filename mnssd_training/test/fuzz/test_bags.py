"""ROS 2 bags of which a file is damaged or missing."""

from functools import lru_cache
from pathlib import Path
import shutil
import tempfile
from typing import Any

from fuzz_strategies import (
    attempt,
    damaged_bytes,
    damaged_text,
    fuzz_settings,
    REFUSED,
    write_files,
)
from hypothesis import given
from hypothesis import strategies as st
from mnssd_training.data.bags import read_bag_images
import numpy as np
import pytest

pytest.importorskip('rosbags')

from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

KIND = 'sensor_msgs/msg/Image'
BAGS = [
    (StoragePlugin.SQLITE3, CompressionMode.NONE),
    (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
    (StoragePlugin.MCAP, CompressionMode.NONE),
]


@lru_cache
def sound_files(storage: StoragePlugin, compression: CompressionMode) -> dict[str, bytes]:
    """Write a bag of three images of 8 x 6 pixels."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    with tempfile.TemporaryDirectory() as folder:
        bag = Writer(Path(folder) / 'bag', version=9, storage_plugin=storage)
        bag.set_compression(compression, CompressionFormat.ZSTD)
        with bag:
            connection = bag.add_connection('/camera/image', KIND, typestore=types)
            for number in range(1, 4):
                time = types.types['builtin_interfaces/msg/Time'](number, 0)
                header = types.types['std_msgs/msg/Header'](time, 'camera')
                pixels = np.full(6 * 8 * 3, 50 * number, np.uint8)
                image = types.types[KIND](header, 6, 8, 'bgr8', 0, 24, pixels)
                bag.write(connection, number, types.serialize_cdr(image, KIND))
        return {path.name: path.read_bytes() for path in (Path(folder) / 'bag').iterdir()}


def read(bag: Path) -> Any:
    return attempt(lambda: list(read_bag_images(bag)), [str(bag)])


@pytest.mark.parametrize(('storage', 'compression'), BAGS)
def test_sound_bag_is_accepted(
    tmp_path: Path, storage: StoragePlugin, compression: CompressionMode
) -> None:
    write_files(tmp_path, sound_files(storage, compression))
    images = read(tmp_path)
    assert images is not REFUSED
    assert [int(image.mean()) for _, image, _ in images] == [50, 100, 150]


@pytest.mark.parametrize(('storage', 'compression'), BAGS)
@fuzz_settings()
@given(data=st.data())
def test_damaged_bag_is_refused_or_holds_images(
    tmp_path: Path, storage: StoragePlugin, compression: CompressionMode, data: st.DataObject
) -> None:
    files = dict(sound_files(storage, compression))
    name = data.draw(st.sampled_from(sorted(files)))
    strategy = damaged_text if name.endswith('.yaml') else damaged_bytes
    files[name] = data.draw(strategy(files[name]) | st.just(b''))
    shutil.rmtree(tmp_path)
    write_files(tmp_path, files)
    images = read(tmp_path)
    for _, image, topic in () if images is REFUSED else images:
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert topic


@pytest.mark.parametrize(('storage', 'compression'), BAGS)
def test_bag_without_its_data_is_refused(
    tmp_path: Path, storage: StoragePlugin, compression: CompressionMode
) -> None:
    files = sound_files(storage, compression)
    write_files(tmp_path, {name: files[name] for name in files if name.endswith('.yaml')})
    assert read(tmp_path) is REFUSED
