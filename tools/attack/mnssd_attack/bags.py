"""ROS 2 bags of which a file was damaged, removed or exchanged."""

from collections.abc import Mapping
from pathlib import Path
import shutil
import tempfile
from typing import Any

from mnssd_training.data.bags import read_bag_images
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

from mnssd_attack.datasets import write_files
from mnssd_attack.spoil import spoil
from mnssd_attack.texts import spoil_text
from mnssd_attack.training_target import TrainingTarget
from mnssd_attack.words import naming

__all__ = ['attack_bag']

KIND = 'sensor_msgs/msg/Image'


def attack_bag(target: TrainingTarget, generator: np.random.Generator) -> None:
    """
    Read the images of a bag that is damaged.

    :param target: what is attacked.
    :param generator: of the damage.
    """
    shutil.rmtree(target.place, ignore_errors=True)
    files = dict(_bag(generator))
    name = str(generator.choice(list(files)))
    way = generator.choice(['spoil', 'spoil', 'spoil', 'empty', 'remove', 'alone'])
    if way == 'spoil' and name.endswith('.yaml'):
        files[name] = spoil_text(files[name], generator)
    elif way == 'spoil':
        files[name] = spoil(files[name], generator)
    elif way == 'empty':
        files[name] = b''
    elif way == 'remove':
        del files[name]
    write_files(target.place, files)
    bag = target.place / name if way == 'alone' else target.place
    with naming([str(target.place)]):
        for _, image, topic in read_bag_images(bag):
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
            assert topic


def _bag(generator: np.random.Generator) -> Mapping[str, bytes]:
    """Write a sound bag of three images."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    storages = list(StoragePlugin)
    compressions = [CompressionMode.NONE, CompressionMode.NONE, CompressionMode.MESSAGE]
    with tempfile.TemporaryDirectory(prefix='mnssd_attack_') as folder:
        place = Path(folder) / 'bag'
        storage = storages[int(generator.integers(0, len(storages)))]
        bag = Writer(place, version=9, storage_plugin=storage)
        compression = compressions[int(generator.integers(0, len(compressions)))]
        bag.set_compression(compression, CompressionFormat.ZSTD)
        with bag:
            connection = bag.add_connection('/camera/image', KIND, typestore=types)
            for stamp in range(1, 4):
                content = types.serialize_cdr(_image(types.types, stamp), KIND)
                bag.write(connection, stamp, content)
        return {path.name: path.read_bytes() for path in place.iterdir()}


def _image(types: Mapping[str, Any], stamp: int) -> Any:
    """Make a message."""
    time = types['builtin_interfaces/msg/Time'](stamp, 0)
    header = types['std_msgs/msg/Header'](time, 'camera')
    pixels = np.full(6 * 8 * 3, 50 * stamp, np.uint8)
    return types[KIND](header, 6, 8, 'bgr8', 0, 24, pixels)
