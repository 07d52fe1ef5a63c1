"""Shards and several datasets under one check."""

from collections.abc import Callable
import json
from pathlib import Path

from mnssd_training.config import SourceConfig
from mnssd_training.data import read_samples
from mnssd_training.data.formats import guess_format, list_splits
from mnssd_training.data.shard_writer import ShardLimit, write_shards
from mnssd_training.data.shards import index_name
from mnssd_training.inspection import check, CheckResult
import pytest

NAMES = ('Person', 'Car', 'Bicycle', 'OtherVehicle')


@pytest.fixture
def shards(small_sets: dict[str, Path], tmp_path: Path) -> Path:
    """The eight images in shards."""
    for split in ('train', 'val'):
        samples = read_samples(SourceConfig(root=str(small_sets['voc'])), split)
        write_shards(samples, NAMES, tmp_path, split, ShardLimit())
    return tmp_path


def run(root: Path) -> CheckResult:
    return check([SourceConfig(format='shards', root=str(root))], ['train', 'val'])


def kinds(checked: CheckResult) -> set[str]:
    return {problem.kind for problem in checked.problems if problem.severity == 'error'}


def test_valid_shards_have_no_errors(shards: Path) -> None:
    assert guess_format(shards) == 'shards'
    assert list_splits(shards, 'shards') == ['train', 'val']
    checked = run(shards)
    assert (checked.num_images, checked.num_boxes) == (8, 38)
    assert kinds(checked) == set()


def test_changed_bytes_of_a_shard_are_found(shards: Path) -> None:
    tar = next(shards.glob('train-*.tar'))
    content = bytearray(tar.read_bytes())
    content[2000] ^= 255
    tar.write_bytes(content)
    assert kinds(run(shards)) == {'image unreadable'}


def test_missing_shards_are_found(shards: Path) -> None:
    for tar in shards.glob('*.tar'):
        tar.unlink()
    assert kinds(run(shards)) == {'image unreadable'}


def test_missing_index_is_found(shards: Path) -> None:
    (shards / index_name('val')).unlink()
    assert kinds(run(shards)) == {'list unreadable'}


def test_invalid_index_is_found(shards: Path) -> None:
    path = shards / index_name('val')
    content = json.loads(path.read_text())
    content['samples'][0]['boxes'] = [[9, 9, 4, 4]]
    path.write_text(json.dumps(content))
    assert kinds(run(shards)) == {'list unreadable'}


def test_images_shared_by_two_datasets_are_found(
    small_sets: dict[str, Path], copy_of: Callable[[str], Path]
) -> None:
    """What one trains on, the other scores on."""
    other = copy_of('yolo')
    sources = [
        SourceConfig(format='voc', root=str(small_sets['voc'])),
        SourceConfig(format='yolo', root=str(other), train_split='val', val_split='train'),
    ]
    checked = check(sources)
    assert checked.num_images == 16
    leaks = [x for x in checked.problems if x.kind == 'same image in two splits']
    assert len(leaks) == 8


def test_classes_are_renamed_before_they_are_checked(small_sets: dict[str, Path]) -> None:
    rename = {'Bicycle': '', 'OtherVehicle': 'Car'}
    source = SourceConfig(root=str(small_sets['voc']), class_map=rename)
    problems = check([source], class_names=('Person', 'Car')).problems
    assert [problem for problem in problems if problem.severity == 'error'] == []
    problems = check([SourceConfig(root=source.root)], class_names=('Person', 'Car')).problems
    assert {problem.kind for problem in problems if problem.severity == 'error'} == {
        'unknown class'
    }
