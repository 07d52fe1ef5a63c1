"""COCO JSON, valid and invalid."""

from collections.abc import Callable
import json
from pathlib import Path
import shutil
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_training.config import SourceConfig
from mnssd_training.data.annotations import DatasetSplit
from mnssd_training.data.formats import read_split
from mnssd_training.data.sample import load_image
from mnssd_training.errors import DatasetError
import numpy as np
import pytest

IMAGE = '1_60_80_0_07504.jpg'
Change = Callable[[dict[str, Any]], None]


def coco() -> dict[str, Any]:
    """Two images, three classes whose ids are not consecutive, an object and a crowd."""
    return {
        'images': [
            {'id': 70, 'file_name': IMAGE, 'width': 640, 'height': 512},
            {'id': 7, 'file_name': '1_60_50_0_07429.jpg', 'width': 640, 'height': 512},
        ],
        'categories': [
            {'id': 90, 'name': 'bicycle'},
            {'id': 1, 'name': 'person'},
            {'id': 3, 'name': 'car'},
        ],
        'annotations': [
            {'id': 5, 'image_id': 7, 'category_id': 90, 'bbox': [10, 20, 30.5, 40], 'iscrowd': 0},
            {'id': 6, 'image_id': 7, 'category_id': 3, 'bbox': [1, 2, 3, 4], 'iscrowd': 1},
        ],
    }


@pytest.fixture
def root(tmp_path: Path, hit_uav: Path) -> Path:
    (tmp_path / 'images').mkdir()
    (tmp_path / 'annotations').mkdir()
    for image in coco()['images']:
        name = image['file_name']
        shutil.copy(hit_uav / 'JPEGImages' / name, tmp_path / 'images' / name)
    return tmp_path


def read(root: Path, content: Any, split: str = 'train', **keys: Any) -> DatasetSplit:
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    path = root / 'annotations' / 'instances_train.json'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_split(SourceConfig(format='coco', root=str(root), **keys), split)


def test_images_without_annotations_have_no_boxes(root: Path) -> None:
    dataset_split = read(root, coco() | {'annotations': []})
    assert [len(sample.boxes) + len(sample.ignore) for sample in dataset_split.samples] == [0, 0]
    assert dataset_split.samples[0].boxes.shape == (0, 4)


def test_ids_need_not_be_consecutive(root: Path) -> None:
    dataset_split = read(root, coco())
    assert dataset_split.class_names == ('person', 'car', 'bicycle')  # in the order of their ids
    first, second = dataset_split.samples
    assert (first.name, second.name) == ('1_60_80_0_07504', '1_60_50_0_07429')
    assert second.boxes.tolist() == [[10, 20, 40.5, 60]]
    assert second.labels.tolist() == [2]
    assert second.ignore.tolist() == [[1, 2, 4, 6]]
    assert second.ignore_labels.tolist() == [1]  # a crowd hides its own class
    assert load_image(second).shape == (512, 640, 3)
    assert dataset_split.notes == ()


@pytest.mark.parametrize('folder', ['.', 'images', 'train', 'train2017', 'images/train'])
def test_images_are_found_in_usual_folders(root: Path, folder: str) -> None:
    images = [(root / 'images' / image['file_name']) for image in coco()['images']]
    (root / folder).mkdir(exist_ok=True)
    moved = [image.rename(root / folder / image.name) for image in images]
    assert [sample.path for sample in read(root, coco()).samples] == moved


@pytest.mark.parametrize(
    ('place', 'split'),
    [
        ('annotations/instances_train2017.json', 'train'),
        ('train.json', 'train'),
        ('train/_annotations.coco.json', 'train'),
        ('mine.json', 'mine.json'),
    ],
)
def test_annotation_files_are_found_by_name_or_path(root: Path, place: str, split: str) -> None:
    (root / place).parent.mkdir(exist_ok=True)
    (root / place).write_text(json.dumps(coco()))
    source = SourceConfig(format='coco', root=str(root))
    assert len(read_split(source, split).samples) == 2
    assert len(read_split(source, str(root / place)).samples) == 2


def test_sample_names_include_subfolders(root: Path) -> None:
    content = coco()
    for number in (0, 1):
        (root / 'images' / str(number)).mkdir()
        name = content['images'][number]['file_name']
        (root / 'images' / name).rename(root / 'images' / str(number) / 'a.jpg')
        content['images'][number]['file_name'] = f'{number}/a.jpg'
    assert [sample.name for sample in read(root, content).samples] == ['0/a', '1/a']


def test_boxes_are_clipped_and_degenerate_ones_skipped(root: Path) -> None:
    content = coco()
    content['annotations'][0]['bbox'] = [-5, -5, 1000, 1e8]
    content['annotations'][1]['bbox'] = [100, 100, 5, 0]
    dataset_split = read(root, content)
    assert dataset_split.samples[1].boxes.tolist() == [[0, 0, 640, 512]]
    (note,) = dataset_split.notes
    assert note == (
        'skipped 1 x box degenerate: annotations/instances_train.json: annotation 6 of '
        '1_60_50_0_07429.jpg: expected a box with an area in the image, '
        'got car (100, 100, 105, 100)'
    )
    with pytest.raises(DatasetError, match='annotation 6 of .*: expected a box with an area'):
        read(root, content, strict_labels=True)


def annotation(**keys: Any) -> Change:
    return lambda content: content['annotations'][1].update(keys)


def image(**keys: Any) -> Change:
    return lambda content: content['images'][1].update(keys)


def category(**keys: Any) -> Change:
    return lambda content: content['categories'][1].update(keys)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (annotation(bbox=[1, 2, -3, 4]), 'annotation 6 of .*: expected x1 <= x2 .*(1, 2, -2, 6)'),
        (annotation(bbox=[700, 2, 3, 4]), 'annotation 6 of .*: expected a box .*(700, 2, 703, 6)'),
        (annotation(bbox=[1, 2, 3]), r'annotation 6: bbox: expected \[x, y, width, height\]'),
        (annotation(bbox=[1, 2, '3', 4]), 'annotation 6: bbox: expected'),
        (annotation(bbox=[1, 2, True, 4]), 'annotation 6: bbox: expected'),
        (annotation(bbox=[1, 2, [3], 4]), 'annotation 6: bbox: expected'),
        (annotation(bbox={'x': 1}), 'annotation 6: bbox: expected'),
        (annotation(bbox=None), 'annotation 6: bbox: expected .* got nothing'),
        (annotation(bbox=[10**400, 0, 1, 1]), 'annotation 6: bbox'),
        (annotation(category_id=2), 'annotation 6: there is no category 2; list the class'),
        (annotation(category_id='3'), "annotation 6: there is no category '3'"),
        (annotation(category_id=[]), r'annotation 6: there is no category \[\]'),
        (annotation(image_id=8), 'annotation 6: there is no image 8; correct the image_id'),
        (annotation(image_id=None), 'annotation 6: there is no image nothing'),
        (annotation(iscrowd=2), 'annotation 6: iscrowd: expected 0 or 1, got 2'),
        (annotation(iscrowd='no'), "annotation 6: iscrowd: expected 0 or 1, got 'no'"),
        (annotation(id=5), 'annotation 5: an earlier one has this id; give each image'),
        (annotation(id='6'), r"annotations\[1\]: id: expected a whole number, got '6'"),
        (annotation(id=True), r'annotations\[1\]: id: expected a whole number, got True'),
        (image(id=70), 'image 70: an earlier one has this id'),
        (image(width=0), 'image 7: width: expected a whole number of 1 to 32766, got 0'),
        (image(height=-1), 'image 7: height: expected'),
        (image(height=512.0), 'image 7: height: expected'),
        (image(height=10**30), 'image 7: height: expected'),
        (image(height=None), 'image 7: height: expected .* got nothing'),
        (image(file_name=''), 'image 7: file_name: expected a text'),
        (image(file_name=7), 'image 7: file_name: expected a text, got 7'),
        (image(file_name='no.jpg'), 'image 7: no.jpg: no such file; looked in '),
        (image(file_name='nul\0.jpg'), r'image 7: nul\\x00\.jpg: no such file'),
        (image(file_name='x' * 5000), r'image 7: x+\.\.\.: no such file'),
        (image(file_name=IMAGE), 'image 7: .* is the file of image 70 too'),
        (category(id=90), 'category 90: an earlier one has this id'),
        (category(name='car'), "category 3: name: 'car' has another id too"),
        (category(name=' '), 'category 1: name: expected a text'),
        (category(name=None), 'category 1: name: expected a text, got nothing'),
        (lambda c: c.update(images=[]), 'images: expected at least one'),
        (lambda c: c.update(categories=[]), 'categories: expected at least one'),
        (lambda c: c.update(annotations={}), 'annotations: expected a list, got {}'),
        (lambda c: c.pop('annotations'), 'annotations: expected a list, got nothing'),
        (lambda c: c.update(images=[None]), r'images\[0\]: expected an object, got nothing'),
    ],
)  # fmt: skip
def test_invalid_record_is_refused_with_file_and_id(
    root: Path, change: Change, reason: str
) -> None:
    content = coco()
    change(content)
    with pytest.raises(DatasetError, match=reason) as caught:
        read(root, content)
    assert caught.value.path == root / 'annotations' / 'instances_train.json'
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        ('', 'not JSON'),
        ('[1, 2', 'not JSON'),
        ('[]', 'expected a JSON object, got list'),
        (b'\xff\xfe\x00', 'cannot be read as text'),
        ('{"images": NaN}', 'not JSON: NaN is not a number'),
        ('{"images": -Infinity}', 'not JSON: -Infinity is not a number'),
        ('[' * 100_000, 'not JSON'),
        ('{"images": ' + '9' * 10_000 + '}', 'not JSON|images: expected a list'),
        (
            json.dumps(coco()).replace('30.5', '1e999'),
            'annotation 5: bbox: .*, inf,',
        ),
    ],
    ids=['empty', 'cut', 'list', 'binary', 'NaN', 'infinity', 'deep', 'long', 'huge'],
)
def test_file_that_is_not_coco_json_is_refused(
    root: Path, content: str | bytes, reason: str
) -> None:
    with pytest.raises(DatasetError, match=reason):
        read(root, content)


def test_byte_order_mark_is_accepted(root: Path) -> None:
    assert len(read(root, b'\xef\xbb\xbf' + json.dumps(coco()).encode()).samples) == 2


def test_missing_annotation_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'instances_val\.json: no such file; name a split'):
        read_split(SourceConfig(format='coco', root=str(tmp_path)), 'val')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(
    table=st.sampled_from(['images', 'categories', 'annotations']),
    key=st.sampled_from(['id', 'bbox', 'image_id', 'category_id', 'iscrowd', 'file_name', 'name']),
    value=JSON,
)
def test_any_value_is_parsed_or_refused(
    table: str, key: str, value: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = coco()
    content[table][0][key] = value
    folder = tmp_path_factory.getbasetemp() / 'coco_fuzz'
    (folder / 'annotations').mkdir(parents=True, exist_ok=True)
    for listed in coco()['images']:
        (folder / listed['file_name']).touch()
    try:
        dataset_split = read(folder, content)
    except DatasetError:
        return
    for sample in dataset_split.samples:
        assert np.isfinite(sample.boxes).all()
        assert (sample.boxes[:, 2:] > sample.boxes[:, :2]).all()
