"""Annotations of any content: scanned to the end, and what is read can be measured."""

from copy import deepcopy
import json
from pathlib import Path
import shutil
from typing import Any

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_training.config import DataConfig, SourceConfig
from mnssd_training.data import load_image, read_samples, read_splits
from mnssd_training.data.formats import Format, guess_format, list_splits
from mnssd_training.data.problems import SEVERITIES
from mnssd_training.data.shard_writer import ShardLimit, write_shards
from mnssd_training.errors import DatasetError
from mnssd_training.inspection.check_boxes import check_boxes, check_pairs, check_unusual
from mnssd_training.inspection.image_boxes import CheckedImage, measure_boxes
from mnssd_training.inspection.records import read_records
import numpy as np
import pytest

FILES: dict[Format, str] = {
    'voc': 'Annotations/0_60_50_0_06519.xml',
    'yolo': 'labels/0_60_50_0_06519.txt',
    'coco': 'annotations/instances_train.json',
    'visdrone': 'VisDrone2019-DET-train/annotations/0_60_50_0_06519.txt',
}
# What a JSON value may be replaced by.
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 0, 10**400, 1.5, float('nan'), float('inf'), '', 'x', '7', [], {}, [1, 2]]
).map(deepcopy)  # tests change the lists in place


def match_detections(root: Path, form: Format) -> None:
    """Scan and check all but the images."""
    found = read_records(SourceConfig(format=form, root=str(root)), ['train', 'val'])
    assert all(problem.kind in SEVERITIES for problem in found.problems)
    images = [CheckedImage(split, record, None) for split, record in found.images]
    measured = measure_boxes(images, found.class_names)
    for item in measured:
        assert np.isfinite(item.edges).all()
        list(check_boxes(item))
        list(check_pairs(item, found.class_names))
    list(check_unusual(measured, found.class_names))


@pytest.fixture(scope='module')
def roots(small_sets: dict[Format, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies that a test corrupts and restores."""
    folder = tmp_path_factory.mktemp('fuzz')
    for form, root in small_sets.items():
        shutil.copytree(root, folder / form)
    return folder


@pytest.mark.parametrize('form', FILES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_mutated_annotation_bytes_are_parsed_or_reported(
    roots: Path, form: Format, data: st.DataObject
) -> None:
    path = roots / form / FILES[form]
    whole = path.read_bytes()
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, len(content)))
        content[start : start + data.draw(st.integers(0, 12))] = data.draw(st.binary(max_size=12))
    try:
        path.write_bytes(content)
        match_detections(roots / form, form)
    finally:
        path.write_bytes(whole)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_mutated_coco_json_is_parsed_or_reported(roots: Path, data: st.DataObject) -> None:
    path = roots / 'coco' / FILES['coco']
    whole = path.read_text()
    content = json.loads(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        name = data.draw(st.sampled_from(['images', 'annotations', 'categories']))
        records = content[name]
        if not isinstance(records, list) or not records or data.draw(st.integers(0, 20)) == 0:
            content[name] = data.draw(VALUES)
            continue
        index = data.draw(st.integers(0, len(records) - 1))
        is_object = isinstance(records[index], dict) and records[index]
        if not is_object or data.draw(st.integers(0, 9)) == 0:
            records[index] = data.draw(VALUES)
            continue
        key = data.draw(st.sampled_from(sorted(records[index])))
        if key == 'bbox' and isinstance(records[index][key], list) and records[index][key]:
            records[index][key][0] = data.draw(VALUES)
        else:
            records[index][key] = data.draw(VALUES)
    try:
        path.write_text(json.dumps(content))
        match_detections(roots / 'coco', 'coco')
    finally:
        path.write_text(whole)


def test_format_is_guessed_from_the_folders(
    small_sets: dict[Format, Path], tmp_path: Path
) -> None:
    for form, root in small_sets.items():
        assert guess_format(root) == form
        assert list_splits(root, form) == ['train', 'val']
    with pytest.raises(DatasetError, match='cannot tell its format'):
        guess_format(tmp_path)
    with pytest.raises(DatasetError, match='no such folder'):
        guess_format(tmp_path / 'nowhere')


@pytest.mark.parametrize('form', FILES)
def test_missing_split_is_reported(small_sets: dict[Format, Path], form: Format) -> None:
    found = read_records(SourceConfig(format=form, root=str(small_sets[form])), ['nowhere'])
    assert found.images == ()
    assert 'list unreadable' in {problem.kind for problem in found.problems}


@pytest.mark.parametrize('form', ['yolo', 'coco', 'voc'])
def test_equal_file_names_in_two_splits_are_distinguished(tmp_path: Path, form: Format) -> None:
    """The image of each entry is the one that training reads, and none is missing."""
    for split, side in (('train', 8), ('val', 16)):
        folder = tmp_path / {'voc': 'JPEGImages', 'yolo': 'images', 'coco': ''}[form] / split
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / 'a.png'), np.zeros((side, side, 3), np.uint8))
        write_one(tmp_path, form, split, side)
    source = SourceConfig(format=form, root=str(tmp_path))
    found = read_records(source, ['train', 'val'], ('car',))
    for split, record in found.images:
        (sample,) = read_samples(source, split, ('car',))
        assert record.path == sample.path
        assert record.path.parent.name == split
        assert load_image(sample).shape[0] == {'train': 8, 'val': 16}[split]
    assert [problem.kind for problem in found.problems] == []


def write_one(root: Path, form: Format, split: str, side: int) -> None:
    """Write the annotation of one image, ``<split>/a.png``, with one box that is all of it."""
    if form == 'yolo':
        (root / 'labels' / split).mkdir(parents=True)
        (root / 'labels' / split / 'a.txt').write_text('0 0.5 0.5 1 1')
        return
    if form == 'coco':
        box = {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [0, 0, side, side]}
        image = {'id': 1, 'file_name': 'a.png', 'width': side, 'height': side}
        content = {
            'images': [image],
            'annotations': [box],
            'categories': [{'id': 1, 'name': 'car'}],
        }
        (root / 'annotations').mkdir(exist_ok=True)
        (root / 'annotations' / f'instances_{split}.json').write_text(json.dumps(content))
        return
    (root / 'ImageSets' / 'Main').mkdir(parents=True, exist_ok=True)
    (root / 'ImageSets' / 'Main' / f'{split}.txt').write_text(f'{split}/a\n')
    (root / 'Annotations' / split).mkdir(parents=True)
    edges = f'<xmin>0</xmin><ymin>0</ymin><xmax>{side}</xmax><ymax>{side}</ymax>'
    (root / 'Annotations' / split / 'a.xml').write_text(
        f'<annotation><size><width>{side}</width><height>{side}</height></size>'
        f'<object><name>car</name><bndbox>{edges}</bndbox></object></annotation>'
    )


def test_polygons_and_data_yaml_are_read_as_in_training(tmp_path: Path) -> None:
    for split in ('train', 'valid'):
        for kind in ('images', 'labels'):
            (tmp_path / split / kind).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / split / 'images' / 'a.png'), np.zeros((8, 8, 3), np.uint8))
        (tmp_path / split / 'labels' / 'a.txt').write_text('0 0.25 0.25 0.75 0.25 0.5 0.75\n')
    yaml = 'train: ../train/images\nval: ../valid/images\ntest:\nnames: [car]\n'
    (tmp_path / 'data.yaml').write_text(yaml)
    assert guess_format(tmp_path) == 'yolo'
    assert list_splits(tmp_path, 'yolo') == ['train', 'val']
    found = read_records(SourceConfig(format='yolo', root=str(tmp_path)), ['train', 'val'])
    assert found.problems == ()
    assert found.class_names == ('car',)
    boxes = [box.edges for _, record in found.images for box in record.boxes]
    assert boxes == [(0.25, 0.25, 0.75, 0.75)] * 2


def test_pose_labels_are_read_as_in_training(tmp_path: Path) -> None:
    for kind in ('images', 'labels'):
        (tmp_path / kind / 'train').mkdir(parents=True)
    cv2.imwrite(str(tmp_path / 'images' / 'train' / 'a.png'), np.zeros((8, 8, 3), np.uint8))
    line = '0 0.5 0.5 0.5 0.5 0.3 0.3 2 0.4 0.4 1\n'
    (tmp_path / 'labels' / 'train' / 'a.txt').write_text(line)
    source = SourceConfig(format='yolo', root=str(tmp_path))

    def scanned(yaml: str) -> tuple[list[tuple[float, ...]], list[tuple[str, str]]]:
        (tmp_path / 'data.yaml').write_text(f'train: images/train\nnames: [car]\n{yaml}')
        found = read_records(source, ['train'])
        boxes = [box.edges for _, record in found.images for box in record.boxes]
        return boxes, [(problem.kind, problem.message) for problem in found.problems]

    assert scanned('kpt_shape: [2, 3]') == ([(0.25, 0.25, 0.75, 0.75)], [])
    boxes, ((kind, reason),) = scanned('')
    assert (boxes, kind) == ([], 'bad value')
    assert 'kpt_shape' in reason
    _, ((kind, reason), _) = scanned('kpt_shape: 2')
    assert (kind, reason) == (
        'annotation unreadable', 'kpt_shape: expected [number of keypoints, 2 or 3]'
    )  # fmt: skip


@pytest.mark.parametrize('place', ['{}.json', '{}/_annotations.coco.json'])
@pytest.mark.parametrize('val', ['val', 'valid'])
def test_coco_files_are_found_as_in_training(tmp_path: Path, place: str, val: str) -> None:
    for split, side in (('train', 8), (val, 16)):
        (tmp_path / split).mkdir()
        cv2.imwrite(str(tmp_path / split / 'a.png'), np.zeros((side, side, 3), np.uint8))
        write_one(tmp_path, 'coco', split, side)
        written = tmp_path / 'annotations' / f'instances_{split}.json'
        written.rename(tmp_path / place.format(split))
    (tmp_path / 'annotations').rmdir()
    assert guess_format(tmp_path) == 'coco'
    assert list_splits(tmp_path, 'coco') == ['train', val]
    source = SourceConfig(format='coco', root=str(tmp_path))
    found = read_records(source, ['train', val])
    assert found.problems == ()
    for split, record in found.images:
        (sample,) = read_samples(source, split, ('car',))
        assert (record.path, len(record.boxes)) == (sample.path, len(sample.boxes))
    cv2.imwrite(str(tmp_path / 'b.png'), np.zeros((8, 8, 3), np.uint8))
    paths = [str(tmp_path / place.format(split)) for split in ('train', val)]
    (problem,) = read_records(source, paths).problems
    assert problem.kind == 'image without annotation'


@pytest.mark.parametrize('val', ['val', 'valid', 'validation'])
@pytest.mark.parametrize('place', ['images/{}', 'splits/{}.txt'])
def test_yolo_validation_split_has_alternative_names(tmp_path: Path, place: str, val: str) -> None:
    for split in ('train', val):
        (tmp_path / 'images' / split).mkdir(parents=True)
        path = tmp_path / 'images' / split / f'{split}.png'
        cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
        write_one(tmp_path, 'yolo', split, 8)
        (tmp_path / 'labels' / split / 'a.txt').rename(
            tmp_path / 'labels' / split / f'{split}.txt'
        )
        if place.startswith('splits'):
            (tmp_path / 'splits').mkdir(exist_ok=True)
            (tmp_path / place.format(split)).write_text(f'images/{split}/{split}.png\n')
    assert list_splits(tmp_path, 'yolo') == ['train', 'val']
    found = read_records(
        SourceConfig(format='yolo', root=str(tmp_path)), ['train', 'val'], ('car',)
    )
    assert found.problems == ()
    assert [record.name for _, record in found.images] == ['train', val]


def empty_one(root: Path, form: Format) -> None:
    """Take the objects of an image of the training set away."""
    path = root / FILES[form]
    if form == 'voc':
        text = path.read_text()
        path.write_text(text[: text.index('<object>')] + '</annotation>')
    elif form == 'coco':
        content = json.loads(path.read_text())
        first = content['images'][0]['id']
        content['annotations'] = [a for a in content['annotations'] if a['image_id'] != first]
        path.write_text(json.dumps(content))
    else:
        path.write_text('')


@pytest.mark.parametrize('form', [*FILES, 'shards'])
def test_background_is_trained_on_in_all_formats(
    small_sets: dict[str, Path], tmp_path: Path, form: Format
) -> None:
    source_form: Format = 'voc' if form == 'shards' else form
    root = Path(shutil.copytree(small_sets[source_form], tmp_path / 'set'))
    empty_one(root, source_form)
    if form == 'shards':
        splits = read_splits(DataConfig(format='voc', root=str(root)))
        root = tmp_path / 'shards'
        for split, samples in (('train', splits.train), ('val', splits.val)):
            write_shards(samples, splits.class_names, root, split, ShardLimit())
    config = DataConfig(format=form, root=str(root))
    kept = read_splits(config)
    assert sorted(len(sample.boxes) > 0 for sample in kept.train) == [False, True, True, True]
    assert any(
        note.startswith('1 of 4 training images have no object: they are background; data.use')
        for note in kept.notes
    )
    left = read_splits(config.model_copy(update={'use_background': False}))
    assert len(left.train) == 3
    assert 'left out 1 images without objects from training' in left.notes
    assert [sample.name for sample in left.val] == [sample.name for sample in kept.val]


def test_training_split_of_background_only_is_refused(
    small_sets: dict[str, Path], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(small_sets['visdrone'], tmp_path / 'set'))
    for path in (root / 'VisDrone2019-DET-train' / 'annotations').iterdir():
        path.write_text('')
    with pytest.raises(DatasetError, match='expected an image with an object, got none'):
        read_splits(DataConfig(format='visdrone', root=str(root), use_background=False))
