"""The data section of an experiment, with small and with real datasets."""

import json
from pathlib import Path
import shutil
from typing import Any

from mnssd_training.config import DataConfig, SourceConfig
from mnssd_training.data import load_image, read_samples, read_splits, Splits
from mnssd_training.errors import ConfigError, DatasetError
import numpy as np
from pydantic import ValidationError
import pytest


@pytest.fixture
def coco(tmp_path: Path, hit_uav: Path) -> Path:
    """One image of the training split as COCO, with a person and a boat."""
    name = '1_60_50_0_07429.jpg'
    shutil.copy(hit_uav / 'JPEGImages' / name, tmp_path / name)
    plain = {
        'images': [{'id': 1, 'file_name': name, 'width': 640, 'height': 512}],
        'categories': [{'id': 1, 'name': 'person'}, {'id': 2, 'name': 'boat'}],
        'annotations': [
            {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 30, 40]},
            {'id': 2, 'image_id': 1, 'category_id': 2, 'bbox': [100, 2, 30, 40]},
        ],
    }
    (tmp_path / 'train.json').write_text(json.dumps(plain))
    return tmp_path


def config(root: Path, **keys: Any) -> DataConfig:
    return DataConfig(root=str(root), **keys)


def objects(splits: Splits) -> list[list[int]]:
    """Count the objects of each class in each split."""
    return [
        np.bincount(
            np.concatenate([sample.labels for sample in samples]),
            minlength=len(splits.class_names),
        ).tolist()
        for samples in (splits.train, splits.val)
    ]


def test_no_split(hit_uav: Path) -> None:
    nothing = config(hit_uav, train_split='', val_split='', classes=('Car',))
    assert read_splits(nothing) == Splits(('Car',), [], [], ())


def test_one_dataset(hit_uav: Path) -> None:
    splits = read_splits(config(hit_uav))
    assert splits.class_names == ('Person', 'Car', 'Bicycle', 'OtherVehicle')
    assert [len(splits.train), len(splits.val)] == [4, 4]
    assert {sample.name for sample in splits.val} == {sample.path.stem for sample in splits.val}
    assert splits.notes == read_splits(config(hit_uav)).notes


def test_several_datasets_with_a_joint_class_list(hit_uav: Path, coco: Path) -> None:
    sea = SourceConfig(root=str(coco), format='coco', val_split='', class_map={'person': 'Person'})
    alone = read_splits(config(hit_uav))
    splits = read_splits(config(hit_uav, extra_sources=(sea,)))
    assert splits.class_names == (*alone.class_names, 'boat')
    assert len(splits.train) == len(alone.train) + 1
    assert splits.train[-1].name == '1/1_60_50_0_07429'
    assert splits.train[-1].labels.tolist() == [0, 4]
    names = [sample.name for sample in splits.train]
    assert len(set(names)) == len(names)
    assert names[:-1] == [f'0/{sample.name}' for sample in alone.train]
    assert "MEDIUM: 'boat' is only in the training set: it is not evaluated" in splits.notes
    with pytest.raises(ConfigError, match="'Person' and 'person' differ only in spelling"):
        read_splits(config(hit_uav, extra_sources=(sea.model_copy(update={'class_map': {}}),)))


def test_classes_of_the_experiment(hit_uav: Path) -> None:
    with pytest.raises(DatasetError, match='of class .*; available: Car; data.class_map'):
        read_splits(config(hit_uav, classes=('Car',)))
    splits = read_splits(config(hit_uav, classes=('Car',), class_map={'*': ''}))
    whole = read_splits(config(hit_uav))
    cars = [count[1] for count in objects(whole)]
    assert objects(splits) == [[cars[0]], [cars[1]]]
    regions = sum(len(sample.boxes) + len(sample.ignore) for sample in whole.train + whole.val)
    assert regions == sum(len(s.boxes) + len(s.ignore) for s in splits.train + splits.val)
    one = read_splits(config(hit_uav, class_map={'*': 'thing'}))
    assert one.class_names == ('thing',)
    assert sum(objects(one)[0]) == sum(objects(whole)[0])


def test_difficult_objects_can_be_used(hit_uav: Path) -> None:
    used = read_splits(config(hit_uav, use_difficult=True))
    left = read_splits(config(hit_uav))
    more = np.subtract(objects(used), objects(left)).sum()
    assert more == sum(
        (hit_uav / 'Annotations' / f'{sample.name}.xml').read_text().count('<difficult>1')
        for sample in used.train + used.val
    )
    assert more > 0


def test_voc_without_a_class_list(hit_uav: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(hit_uav, tmp_path / 'voc'))
    (root / 'classes.txt').unlink()
    splits = read_splits(config(root))
    assert splits.class_names == ('Bicycle', 'Car', 'OtherVehicle', 'Person')  # no DontCare
    assert sum(map(sum, objects(splits))) == sum(map(sum, objects(read_splits(config(hit_uav)))))
    names = (root / 'ImageSets' / 'Main' / 'val.txt').read_text().split()
    lines = ''.join(f'{name} {flag:2}\n' for name, flag in zip(names, (-1, 0, 1, 1)))
    (root / 'ImageSets' / 'Main' / 'car_val.txt').write_text(lines)
    assert [sample.name for sample in read_splits(config(root, val_split='car_val')).val] == names


@pytest.mark.parametrize('other', ['Person', ''])
def test_class_beyond_the_list_can_be_mapped(hit_uav: Path, tmp_path: Path, other: str) -> None:
    root = Path(shutil.copytree(hit_uav, tmp_path / 'voc'))
    for path in (root / 'Annotations').iterdir():
        path.write_text(path.read_text().replace('<name>Person<', '<name>Rider<'))
    with pytest.raises(
        DatasetError, match=r"of class 'Rider'; available: Person, .* data\.class_map"
    ):
        read_splits(config(root))
    renamed = read_splits(config(root, class_map={'Rider': other}))
    cars = read_splits(config(root, class_map={'*': ''}, classes=('Car',)))
    before = objects(read_splits(config(hit_uav)))
    people = [count[0] if other else 0 for count in before]
    assert [count[0] for count in objects(renamed)] == people
    assert [count[1] for count in objects(renamed)] == [count[1] for count in before]
    assert objects(cars) == [[count[1]] for count in before]


def test_read_samples_with_the_classes_of_a_model(hit_uav: Path) -> None:
    source = SourceConfig(root=str(hit_uav))
    classes = ('Bicycle', 'OtherVehicle', 'Person', 'Car')
    for one, other in zip(read_samples(source, 'val', classes), read_samples(source, 'val')):
        assert [classes[label] for label in one.labels] == [
            ('Person', 'Car', 'Bicycle', 'OtherVehicle')[label] for label in other.labels
        ]
        np.testing.assert_array_equal(load_image(one), load_image(other))


def test_images_in_both_splits_are_noted(hit_uav: Path) -> None:
    notes = read_splits(config(hit_uav, val_split='train')).notes
    assert any(note.startswith('HIGH: 4 images are in both splits') for note in notes)


def test_invalid_data_sections_are_refused(hit_uav: Path, tmp_path: Path) -> None:
    for root in ('nowhere', 'nul\0', 'x' * 300):
        with pytest.raises(DatasetError, match=r'no such folder; set data\.root'):
            read_splits(config(tmp_path / root))
    with pytest.raises(ConfigError, match='only shards can be read at s3://bucket/folder'):
        read_splits(DataConfig(root='s3://bucket/folder'))
    with pytest.raises(ConfigError, match="has no class 'Cars'; did you mean 'Car'"):
        read_splits(config(hit_uav, class_map={'Cars': 'Auto'}))
    for classes in (('a', 'a'), ('',), (' a',)):
        with pytest.raises(ValidationError, match='expected names that differ'):
            config(hit_uav, classes=classes)


# --- whole datasets: the counts of their READMEs ---------------------------------------------


def test_hit_uav_dataset(shared: Path) -> None:
    splits = read_splits(config(shared / 'data' / 'hit_uav', use_difficult=True))
    assert [len(splits.train), len(splits.val)] == [766, 224]
    assert objects(splits) == [[3981, 1851, 1585, 33], [539, 685, 189, 5]]
    assert [sum(len(s.ignore) for s in part) for part in (splits.train, splits.val)] == [38, 1]
    assert [
        sum(not len(s.boxes) + len(s.ignore) for s in part) for part in (splits.train, splits.val)
    ] == [13, 1]


def test_aerial_cars_dataset(shared: Path) -> None:
    root = shared / 'data' / 'aerial_cars'
    splits = read_splits(config(root, format='yolo', strict_labels=True))
    assert splits.class_names == ('car', 'truck', 'bus', 'minibus', 'cyclist')
    assert [len(splits.train), len(splits.val)] == [62, 31]
    assert objects(splits) == [[1727, 1, 62, 35, 0], [956, 3, 21, 46, 0]]
    assert splits.notes == ("LOW: 'cyclist' has no object in either split",)
    test = read_samples(SourceConfig(root=str(root), format='yolo'), 'test')
    assert objects(Splits(splits.class_names, test, test))[0] == [716, 1, 11, 18, 0]
    assert all(load_image(sample).size for sample in (splits.train[0], test[0]))


def test_sea_drones_dataset(shared: Path) -> None:
    splits = read_splits(config(shared / 'data' / 'sea_drones', format='coco', strict_labels=True))
    assert [len(splits.train), len(splits.val)] == [53, 17]
    assert objects(splits) == [[37, 77, 6, 2, 8], [31, 12, 3, 3, 3]]
    assert splits.notes == ()
    assert load_image(splits.val[0]).shape[:2] == splits.val[0].size


def test_all_datasets_together(shared: Path) -> None:
    data = shared / 'data'
    more = (
        SourceConfig(root=str(data / 'aerial_cars'), format='yolo', class_map={'car': 'Car'}),
        SourceConfig(
            root=str(data / 'sea_drones'), format='coco', class_map={'swimmer': 'Person'}
        ),
    )
    splits = read_splits(config(data / 'hit_uav', extra_sources=more))
    assert splits.class_names[:4] == ('Person', 'Car', 'Bicycle', 'OtherVehicle')
    assert [len(splits.train), len(splits.val)] == [766 + 62 + 53, 224 + 31 + 17]
    assert objects(splits)[1][:2] == [539 + 31, 685 + 956]
