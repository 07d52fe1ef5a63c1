"""Shards written by mnssd, read by mnssd and by the WebDataset library."""

from collections.abc import Callable
import json
from pathlib import Path
import tarfile
import tracemalloc
from typing import Any

from mnssd_training.data import load_image, Sample
from mnssd_training.data.sample import ANY_CLASS
from mnssd_training.data.shard_writer import ShardLimit, write_shards
from mnssd_training.data.shards import read_shards
from mnssd_training.errors import DatasetError
import numpy as np
import pytest

CLASSES = ('Person', 'Car', 'Bicycle', 'OtherVehicle')
TWO = ShardLimit(images=2)
FIELDS = ('boxes', 'labels', 'ignore', 'ignore_labels')


@pytest.fixture
def folder(tmp_path: Path, val_samples: list[Sample]) -> Path:
    write_shards(val_samples, CLASSES, tmp_path / 'shards', 'val', TWO)
    return tmp_path / 'shards'


def change_index(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / 'val.index.json'
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))


def test_empty_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'val\.index\.json: there is no image to write'):
        write_shards([], CLASSES, tmp_path, 'val', TWO)
    assert list(tmp_path.iterdir()) == []


def test_round_trip(folder: Path, val_samples: list[Sample]) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        'val-000000.tar',
        'val-000001.tar',
        'val.index.json',
    ]
    reading = read_shards(str(folder), 'val')
    assert reading.class_names == CLASSES
    for one, other in zip(reading.samples, val_samples, strict=True):
        assert (one.name, one.size) == (other.name, other.size)
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
            assert getattr(one, field).dtype == getattr(other, field).dtype
        np.testing.assert_array_equal(load_image(one), load_image(other))
    first = reading.samples[0]
    assert str(first.path) == f'{folder}/val-000000.tar:{first.name}.jpg'
    again = read_shards(f'{folder}/', 'val').samples
    assert [sample.path for sample in again] == [sample.path for sample in reading.samples]


def test_tars_are_valid_webdataset(folder: Path, val_samples: list[Sample]) -> None:
    webdataset = pytest.importorskip('webdataset')
    urls = [str(path) for path in sorted(folder.glob('*.tar'))]
    read = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    assert [item['__key__'] for item in read] == [sample.name for sample in val_samples]
    for item, sample in zip(read, val_samples):
        assert isinstance(sample.path, Path)
        assert item['jpg'] == sample.path.read_bytes()
        described = json.loads(item['json'])
        assert described['boxes'] == sample.boxes.tolist()
        assert described['labels'] == sample.labels.tolist()
        assert described['class_names'] == list(CLASSES)


def test_output_is_reproducible(tmp_path: Path, val_samples: list[Sample], folder: Path) -> None:
    paths = write_shards(val_samples, CLASSES, tmp_path / 'again', 'val', TWO)
    assert [path.read_bytes() for path in paths] == [
        (folder / path.name).read_bytes() for path in paths
    ]


def test_fractions_are_stored_exactly(
    tmp_path: Path, make_sample: Callable[..., Sample], val_samples: list[Sample]
) -> None:
    boxes = np.random.default_rng(3).uniform(0, 500, (50, 4)).astype(np.float32)
    boxes[:, 2:] = np.maximum(boxes[:, :2] + np.float32(0.1), boxes[:, 2:])
    sample = make_sample(boxes, [3] * 50, boxes[:2], [ANY_CLASS, 1], path=val_samples[0].path)
    write_shards([sample], CLASSES, tmp_path, 'val', TWO)
    (read,) = read_shards(str(tmp_path), 'val').samples
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(read, field), getattr(sample, field))


@pytest.mark.parametrize(
    ('limit', 'shards'),
    [(ShardLimit(images=1), 4), (ShardLimit(images=3), 2), (ShardLimit(), 1),
     (ShardLimit(size=1), 4), (ShardLimit(size=30_000), 4)],
    ids=['one image', 'three images', 'default', 'one byte', 'an image'],
)  # fmt: skip
def test_shard_limits(
    tmp_path: Path, val_samples: list[Sample], limit: ShardLimit, shards: int
) -> None:
    assert len(write_shards(val_samples, CLASSES, tmp_path, 'val', limit)) == shards + 1
    assert len(read_shards(str(tmp_path), 'val').samples) == len(val_samples)


def test_keys_have_no_dots_and_are_unique(
    tmp_path: Path, make_sample: Callable[..., Sample], val_samples: list[Sample]
) -> None:
    names = ['a.b/c', 'a_b_c', '../ä', 'x' * 300]
    samples = [make_sample(name=name, path=val_samples[0].path) for name in names]
    write_shards(samples, CLASSES, tmp_path, 'val', ShardLimit())
    with tarfile.open(tmp_path / 'val-000000.tar') as tar:
        members = tar.getnames()
    assert members[::2] == ['a_b_c.jpg', 'a_b_c_.jpg', '___ä.jpg', 'x' * 300 + '.jpg']
    read = read_shards(str(tmp_path), 'val').samples
    assert [sample.name for sample in read] == names
    assert all(load_image(sample).size for sample in read)


@pytest.mark.parametrize('name', ['val.index.json', 'val-000007.tar'])
def test_existing_shards_are_not_overwritten(
    tmp_path: Path, val_samples: list[Sample], name: str
) -> None:
    (tmp_path / name).write_text('precious')
    with pytest.raises(DatasetError, match='exists already; choose another folder'):
        write_shards(val_samples, CLASSES, tmp_path, 'val', TWO)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(write_shards(val_samples, CLASSES, tmp_path, 'train', TWO)) == 3


@pytest.mark.parametrize('content', [None, b''])
def test_unreadable_image_leaves_no_files(
    tmp_path: Path, make_sample: Callable[..., Sample], val_samples: list[Sample], content: Any
) -> None:
    bad = tmp_path / 'bad.jpg'
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(DatasetError, match=r'bad\.jpg: (cannot read the image|the image is emp)'):
        write_shards([*val_samples, make_sample(path=bad)], CLASSES, tmp_path / 'out', 'val', TWO)
    assert list((tmp_path / 'out').iterdir()) == []


def test_shards_can_be_sharded_again(folder: Path, tmp_path: Path) -> None:
    samples = read_shards(str(folder), 'val').samples
    write_shards(samples, CLASSES, tmp_path / 'again', 'val', TWO)
    assert (tmp_path / 'again' / 'val-000001.tar').read_bytes() == (
        folder / 'val-000001.tar'
    ).read_bytes()


# --- what is wrong ---------------------------------------------------------------------------


def sample(**keys: Any) -> Callable[[dict[str, Any]], None]:
    return lambda index: index['samples'][0].update(keys)


def shard(**keys: Any) -> Callable[[dict[str, Any]], None]:
    return lambda index: index['shards'][0].update(keys)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda index: index.update(format='mnssd-shards-9'), 'not an index of shards: format: '),
        (lambda index: index.update(extra=1), 'not an index of shards: extra: '),
        (lambda index: index.pop('samples'), 'not an index of shards: samples: '),
        (lambda index: index.update(samples=[]), 'samples: '),
        (lambda index: index.update(class_names=['a', 'a']), 'expected names that differ'),
        (lambda index: index['samples'].append(index['samples'][0]), 'two samples have the same'),
        (sample(boxes=[[0, 0, 'x', 1]]), r'samples\.0\.boxes\.0\.2: '),
        (sample(boxes=[[0, 0, 1]]), r'samples\.0\.boxes\.0'),
        (sample(boxes=[[0, 0, float('nan'), 1]], labels=[0]), r'samples\.0\.boxes\.0\.2: '),
        (sample(boxes=[[5, 5, 1, 1]], labels=[0]), r'sample .* is not a box inside 640 x 512'),
        (sample(boxes=[], labels=[0]), 'has 0 boxes and 1 labels'),
        (sample(boxes=[[0, 0, 1, 1]], labels=[4]), 'a label that is not one of 0 to 3'),
        (sample(labels=[-1]), r'samples\.0\.labels\.0: '),
        (sample(ignore=[[0, 0, 1, 1]], ignore_labels=[-2]), r'samples\.0\.ignore_labels\.0: '),
        (sample(size=[0, 5]), r'samples\.0\.size\.0: '),
        (sample(size=[10**30, 5]), r'samples\.0\.size\.0: '),
        (sample(shard=9), 'there is no shard 9'),
        (sample(length=10**8), r'ends beyond .*val-000000\.tar'),
        (sample(length=2**61), r'samples\.0\.length: .*less than or equal to 536870912'),
        (sample(offset=2**61), r'samples\.0\.offset: .*less than or equal'),
        (sample(crc32=2**61), r'samples\.0\.crc32: .*less than'),
        (shard(size=2**61), r'shards\.0\.size: .*less than or equal'),
        (sample(offset=-1), r'samples\.0\.offset: '),
        (shard(sha256='x'), r'shards\.0\.sha256: '),
        (shard(name='../val-000000.tar'), 'expected the name of a file beside the index'),
        (shard(name='/etc/passwd'), 'expected the name of a file beside the index'),
    ],
)  # fmt: skip
def test_invalid_index_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    change_index(folder, change)
    with pytest.raises(DatasetError, match=words) as caught:
        read_shards(str(folder), 'val')
    assert str(caught.value.path) == f'{folder}/val.index.json'


@pytest.mark.parametrize('content', [b'', b'{', b'\xff\xfe', b'[]', b'[' * 100_000])
def test_other_content_is_refused(folder: Path, content: bytes) -> None:
    (folder / 'val.index.json').write_bytes(content)
    with pytest.raises(DatasetError, match='not an index of shards'):
        read_shards(str(folder), 'val')


def test_missing_files_are_reported(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r'test\.index\.json: no such file'):
        read_shards(str(folder), 'test')
    first = read_shards(str(folder), 'val').samples[0]
    (folder / 'val-000000.tar').unlink()
    with pytest.raises(DatasetError, match=r'val-000000\.tar: no such file'):
        load_image(first)


def test_truncated_and_changed_shards_are_refused(folder: Path) -> None:
    tar = folder / 'val-000000.tar'
    first, second = read_shards(str(folder), 'val').samples[:2]
    content = bytearray(tar.read_bytes())
    content[first.path.offset + 100] ^= 1
    tar.write_bytes(content[: second.path.offset + 10])
    with pytest.raises(DatasetError, match='other bytes than in the index; the shards were'):
        load_image(first)
    with pytest.raises(DatasetError, match=r'expected \d+ bytes, got 10: cut short') as caught:
        load_image(second)
    assert str(caught.value.path) == f'{tar}:{second.name}.jpg'


def test_huge_index_is_refused_before_it_is_read(folder: Path) -> None:
    with (folder / 'val.index.json').open('wb') as file:
        file.truncate(1 << 40)  # bytes that are not on the disk
    with pytest.raises(DatasetError, match=r'val\.index\.json: expected at most 536870912 bytes'):
        read_shards(str(folder), 'val')


def test_announced_length_is_not_allocated(folder: Path) -> None:
    def change(index: dict[str, Any]) -> None:
        index['shards'][0].update(size=1 << 49)
        index['samples'][0].update(length=512 << 20)

    change_index(folder, change)
    (sample, *_) = read_shards(str(folder), 'val').samples
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match=r'expected 536870912 bytes, got \d+: cut short'):
            load_image(sample)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
