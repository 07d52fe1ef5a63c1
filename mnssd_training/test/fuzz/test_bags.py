"""ROS 2 bags with a corrupt or missing file."""

from functools import lru_cache
from pathlib import Path
import shutil
import tempfile

from fuzzing import corrupt_bytes, corrupt_text, fuzz_settings, read_files, refusal, write_files
from hypothesis import given
from hypothesis import strategies as st
from mnssd_training.data.bags import read_bag_images
import numpy as np
import pytest

pytest.importorskip('rosbags')

from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

MESSAGE_TYPE = 'sensor_msgs/msg/Image'
BAGS = [
    (StoragePlugin.SQLITE3, CompressionMode.NONE),
    (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
    (StoragePlugin.MCAP, CompressionMode.NONE),
]


@lru_cache
def valid_files(storage: StoragePlugin, compression: CompressionMode) -> dict[str, bytes]:
    """Write a bag of three images of 8 x 6 pixels."""
    typestore = get_typestore(Stores.ROS2_HUMBLE)
    with tempfile.TemporaryDirectory() as folder:
        bag = Writer(Path(folder) / 'bag', version=9, storage_plugin=storage)
        bag.set_compression(compression, CompressionFormat.ZSTD)
        with bag:
            connection = bag.add_connection('/camera/image', MESSAGE_TYPE, typestore=typestore)
            for number in range(1, 4):
                time = typestore.types['builtin_interfaces/msg/Time'](number, 0)
                header = typestore.types['std_msgs/msg/Header'](time, 'camera')
                pixels = np.full(6 * 8 * 3, 50 * number, np.uint8)
                image = typestore.types[MESSAGE_TYPE](header, 6, 8, 'bgr8', 0, 24, pixels)
                bag.write(connection, number, typestore.serialize_cdr(image, MESSAGE_TYPE))
        return read_files(Path(folder) / 'bag')


def read(bag: Path, is_valid: bool = False) -> None:
    images = list(read_bag_images(bag))
    assert all(image.dtype == np.uint8 and image.ndim == 3 for _, image, _ in images)
    assert all(topic for _, _, topic in images)
    if is_valid:
        assert [int(image.mean()) for _, image, _ in images] == [50, 100, 150]


@pytest.fixture(params=BAGS)
def files(request: pytest.FixtureRequest) -> dict[str, bytes]:
    return dict(valid_files(*request.param))


def test_valid_bag_is_accepted(tmp_path: Path, files: dict[str, bytes]) -> None:
    write_files(tmp_path, files)
    assert not refusal(read, tmp_path, True)


@fuzz_settings()
@given(data=st.data())
def test_corrupt_bag_is_refused_or_holds_images(
    tmp_path: Path, files: dict[str, bytes], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(files)))
    corrupt = corrupt_text if name.endswith('.yaml') else corrupt_bytes
    content = data.draw(corrupt(files[name]) | st.just(b''))
    shutil.rmtree(tmp_path)
    write_files(tmp_path, files | {name: content})
    refusal(read, tmp_path, names=[str(tmp_path)])


def test_bag_without_its_data_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    write_files(tmp_path, {name: files[name] for name in files if name.endswith('.yaml')})
    assert refusal(read, tmp_path, names=[str(tmp_path)])
