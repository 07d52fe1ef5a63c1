"""A recording to a dataset that training can read."""

from collections.abc import Sequence
import csv
import json
from pathlib import Path
from typing import Any

import cv2
from mnssd_training.cli import bags_to_dataset
from mnssd_training.config import SourceConfig
from mnssd_training.data import Sample
from mnssd_training.data.formats import Format, list_splits
from mnssd_training.data.sample import load_image
from mnssd_training.data.sources import read_samples
from mnssd_training.inspection import check
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

Capture = pytest.CaptureFixture[str]
TYPES = get_typestore(Stores.ROS2_HUMBLE)
KIND = 'sensor_msgs/msg/Image'
FORMATS = ('voc', 'coco', 'yolo')
START = 1_700_000_000 * 10**9


def write_bag(path: Path, images: Sequence[np.ndarray], period_ns: int) -> Path:
    header = TYPES.types['std_msgs/msg/Header']
    time = TYPES.types['builtin_interfaces/msg/Time']
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        connection = bag.add_connection('/camera/image', KIND, typestore=TYPES)
        for number, image in enumerate(images):
            stamp = START + number * period_ns
            message = TYPES.types[KIND](
                header(time(stamp // 10**9, stamp % 10**9), 'camera'),
                *image.shape[:2],
                'mono8',
                0,
                image.shape[1],
                image.reshape(-1),
            )
            bag.write(connection, stamp, TYPES.serialize_cdr(message, KIND))
    return path


@pytest.fixture(scope='module')
def bag(hit_uav: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images, each for a second, two frames a second."""
    paths = sorted((hit_uav / 'JPEGImages').glob('*.jpg'))[:5]
    images = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
    frames = [image for image in images for _ in range(2)]
    return write_bag(tmp_path_factory.mktemp('bags') / 'flight', frames, 10**9 // 2)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize('form', FORMATS)
def test_bag_becomes_a_dataset(bag: Path, tmp_path: Path, capsys: Capture, form: Format) -> None:
    root = tmp_path / 'new'
    arguments = [str(bag), '--output', str(root), '--format', form, '--every', '0', '--quiet']
    assert bags_to_dataset.main([*arguments, '--val-share', '0.2', '--gap', '1.5']) == 0
    assert capsys.readouterr().out.startswith('4 images (3 in train, 1 in val), ')
    source = SourceConfig(format=form, root=str(root))
    assert list_splits(root, form) == ['train', 'val']
    train, val = (read_samples(source, split) for split in ('train', 'val'))
    assert (len(train), len(val)) == (3, 1)
    assert max(sample.name for sample in train) < min(sample.name for sample in val)
    assert train[0].name == 'flight_1700000000_000000000'
    problems = check([source], ['train', 'val']).problems
    assert {problem.kind for problem in problems if problem.severity != 'note'} <= {
        'class rare',
        'class not in val',
        'class only in val',
    }
    labels = rows(root / 'labels.csv')
    assert len(labels) == sum(len(sample.boxes) for sample in train + val)
    assert len(labels) > 10
    assert all(0.3 < float(row['score']) <= 1 for row in labels)
    check_frames(root, bag, train + val)


def check_frames(root: Path, bag: Path, samples: list[Sample]) -> None:
    """Hold ``frames.csv`` and ``provenance.json`` against what is there."""
    frames = rows(root / 'frames.csv')
    assert [row['image'] for row in frames] == [f'{sample.name}.jpg' for sample in samples]
    assert [int(row['labels']) for row in frames] == [len(sample.boxes) for sample in samples]
    assert {row['bag'] for row in frames} == {str(bag)}
    assert int(frames[1]['stamp_ns']) == START + 10**9
    notes: dict[str, Any] = json.loads((root / 'provenance.json').read_text())
    assert notes['bags'][0]['frames'] == 10
    assert notes['bags'][0]['left_out_as_alike'] == 5
    assert notes['bags'][0]['left_out_between_splits'] == 1
    assert notes['labels']['digest'].startswith('sha256:')
    assert load_image(samples[0]).shape == (512, 640, 3)
    assert cv2.imread(str(samples[0].path), cv2.IMREAD_UNCHANGED).ndim == 2


def test_no_prelabel_writes_no_labels(bag: Path, tmp_path: Path) -> None:
    root = tmp_path / 'new'
    arguments = [bag, '--output', root, '--every', '2', '--no-prelabel', '--quiet']
    arguments += ['--classes', 'Goat, Sheep', '--val-share', '0', '--png', '--min-difference', '0']
    assert bags_to_dataset.main(list(map(str, arguments))) == 0
    samples = read_samples(SourceConfig(root=str(root)), 'train')
    assert [len(sample.boxes) for sample in samples] == [0] * 3
    assert (root / 'classes.txt').read_text() == 'Goat\nSheep\n'
    assert rows(root / 'labels.csv') == []
    assert json.loads((root / 'provenance.json').read_text())['labels'] is None
    assert {path.suffix for path in (root / 'JPEGImages').iterdir()} == {'.png'}


def test_bags_with_the_same_name_get_a_number(bag: Path, tmp_path: Path) -> None:
    (tmp_path / 'other').mkdir()
    image = np.full((48, 64), 99, np.uint8)
    other = write_bag(tmp_path / 'other' / 'flight', [image], 1)
    arguments = [str(bag), str(other), '--output', str(tmp_path / 'new'), '--no-prelabel']
    assert bags_to_dataset.main([*arguments, '--frames', '10', '--quiet']) == 0
    names = [row['image'] for row in rows(tmp_path / 'new' / 'frames.csv')]
    assert [name.rpartition('_1700')[0] for name in names] == ['flight', 'flight_2']


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (['{bag}', '--output', '{full}'], 'already exists; choose another --output'),
        (['{full}/nobody', '--output', '{new}'], 'nobody: no such bag'),
        (['{bag}', '--output', '{new}', '--topic', '/other'], "no topic '/other' with images"),
        (['{bag}', '--output', '{new}', '--every', '-1'], '--every: expected seconds from 0 on'),
        (['{bag}', '--output', '{new}', '--every', 'nan'], '--every: expected seconds from 0 on'),
        (['{bag}', '--output', '{new}', '--frames', '0'], '--frames: expected at least 1, got 0'),
        (['{bag}', '--output', '{new}', '--val-share', '2'], '--val-share: expected 0 to 1'),
        (['{bag}', '--output', '{new}', '--classes', 'a'], '--classes: labels are of the classes'),
        (['{bag}', '--output', '{new}', '--bundle', '{full}'], "there is no 'manifest.json'"),
        (['{bag}', '--output', '{new}', '--score-threshold', '7'], 'score'),
    ],
)
def test_bad_input_is_one_line(
    bag: Path, tmp_path: Path, capsys: Capture, arguments: list[str], reason: str
) -> None:
    full = tmp_path / 'full'
    full.mkdir()
    (full / 'something').write_text('')
    filled = [text.format(bag=bag, full=full, new=tmp_path / 'new') for text in arguments]
    assert bags_to_dataset.main([*filled, '--quiet']) == 1
    err = capsys.readouterr().err
    assert err.startswith('error: ')
    assert err.count('\n') == 1
    assert reason in err
