"""Datasets with a corrupt, missing or replaced annotation file."""

from functools import lru_cache
import json
from pathlib import Path
import shutil
import tempfile
from typing import Any
from xml.etree import ElementTree

import cv2
from fuzzing import corrupt_data, corrupt_text, fuzz_settings, read_files, refusal, write_files
from hypothesis import given
from hypothesis import strategies as st
from mnssd_training.config import DataConfig
from mnssd_training.data import load_image, read_splits
from mnssd_training.data.shard_writer import ShardLimit, write_shards
import numpy as np
import pytest

SPLITS = {'train': ('a', 'b', 'c'), 'val': ('d', 'e')}
FORMATS = ('voc', 'coco', 'yolo', 'visdrone', 'shards')
# The corpus has the annotations of all formats but shards; these are the images.
IMAGES = {
    'voc': 'JPEGImages/{name}.jpg',
    'coco': 'images/{name}.jpg',
    'yolo': 'images/{name}.jpg',
    'visdrone': 'VisDrone2019-DET-{split}/images/{name}.jpg',
}
ENTITIES = b'<!DOCTYPE a [<!ENTITY b "x"><!ENTITY c "%s">]><a>%s</a>' % (
    b'&b;' * 999,
    b'&c;' * 999,
)
REPLACEMENTS = {
    '.json': (b'', b'null', b'[]', b'{}', b'[' * 200_000, b'{"images": NaN}', b'"\\ud800"'),
    '.xml': (
        b'', b'<a/>', b'<a>' * 200_000, ENTITIES, b'<a b="1" b="2"/>', b'<a>\xff</a>',
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        b'<?xml version="1.0" encoding="utf-99"?><annotation/>',
    ),
    '.yaml': (
        b'', b'names: [a', b'names: [[a], {b: c}]', b'a: &a [*a]', b'[' * 5000,
        b'names: !!python/object/apply:os.getcwd []',
    ),
}  # fmt: skip


@lru_cache
def valid_files(format_name: str) -> dict[str, bytes]:
    if format_name == 'shards':
        return shard_files()
    image = cv2.imencode('.jpg', np.full((48, 64, 3), 99, np.uint8))[1].tobytes()
    pattern = IMAGES[format_name]
    return read_files(Path(__file__).with_name('corpus') / format_name) | {
        pattern.format(split=split, name=name): image
        for split, names in SPLITS.items()
        for name in names
    }


def shard_files() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        write_files(folder / 'coco', valid_files('coco'))
        splits = read_splits(DataConfig(format='coco', root=str(folder / 'coco')))
        for name in SPLITS:
            samples = getattr(splits, name)
            write_shards(samples, splits.class_names, folder / 'shards', name, ShardLimit(2))
        return read_files(folder / 'shards')


def read(format_name: str, root: Path, options: dict[str, Any]) -> None:
    """Read a dataset with all its images; assert what training relies on."""
    splits = read_splits(DataConfig(format=format_name, root=str(root), **options))
    assert all(note.isprintable() for note in splits.notes)
    for sample in (*splits.train, *splits.val):
        load_image(sample)
        height, width = sample.size
        for boxes, labels, lowest in (
            (sample.boxes, sample.labels, 0),
            (sample.ignore, sample.ignore_labels, -1),
        ):
            assert boxes.shape == (len(labels), 4)
            assert np.isfinite(boxes).all()
            assert ((boxes >= 0) & (boxes <= (width, height, width, height))).all()
            assert (boxes[:, 2:] > boxes[:, :2]).all()
            assert ((labels >= lowest) & (labels < len(splits.class_names))).all()


def read_valid(format_name: str, root: Path) -> None:
    splits = read_splits(DataConfig(format=format_name, root=str(root)))
    assert (len(splits.train), len(splits.val)) == (3, 2)
    assert all(len(sample.boxes) + len(sample.ignore) == 2 for sample in splits.train)


def refuses(format_name: str, root: Path, **options: Any) -> str:
    names = ['data.', f'{root}/', *valid_files(format_name)]
    return refusal(read, format_name, root, options, names=names)


@pytest.mark.parametrize('format_name', FORMATS)
def test_valid_dataset_is_accepted(tmp_path: Path, format_name: str) -> None:
    write_files(tmp_path, valid_files(format_name))
    assert not refuses(format_name, tmp_path)
    assert not refusal(read_valid, format_name, tmp_path)


@pytest.mark.parametrize('format_name', FORMATS)
@fuzz_settings()
@given(data=st.data())
def test_corrupt_annotation_is_refused_or_read_as_valid_samples(
    tmp_path: Path, format_name: str, data: st.DataObject
) -> None:
    files = dict(valid_files(format_name))
    names = [name for name in files if not name.endswith(('.jpg', '.tar'))]
    name = data.draw(st.sampled_from(names))
    files[name] = data.draw(corrupt_annotation(files[name], Path(name).suffix))
    shutil.rmtree(tmp_path)
    write_files(tmp_path, files)
    options: list[dict[str, Any]] = [{}, {'strict_labels': True}, {'classes': ('person', 'car')}]
    refuses(format_name, tmp_path, **data.draw(st.sampled_from(options)))


def corrupt_annotation(content: bytes, suffix: str) -> st.SearchStrategy[bytes]:
    strategies = [corrupt_text(content), corrupt_text(content)]
    if suffix in REPLACEMENTS:
        strategies.append(st.sampled_from(REPLACEMENTS[suffix]))
    if suffix == '.json':
        strategies.append(
            corrupt_data(json.loads(content)).map(lambda data: json.dumps(data).encode())
        )
    if suffix == '.xml':
        strategies.append(corrupt_xml(content))
    return st.one_of(strategies)


@st.composite
def corrupt_xml(draw: st.DrawFn, content: bytes) -> bytes:
    """Remove, double, rename, empty or nest an element."""
    root = ElementTree.fromstring(content)
    pairs = [(parent, child) for parent in root.iter() for child in parent]
    parent, child = draw(st.sampled_from(pairs))
    way = draw(st.sampled_from(['remove', 'double', 'rename', 'empty', 'nest']))
    if way == 'remove':
        parent.remove(child)
    elif way == 'double':
        parent.append(child)
    elif way == 'rename':
        child.tag += 's'
    elif way == 'empty':
        child.text = None
    else:
        ElementTree.SubElement(child, child.tag).text = child.text
    return ElementTree.tostring(root)


@pytest.mark.parametrize('way', ['remove', 'folder', 'loop', 'dangling link'])
@pytest.mark.parametrize(
    ('format_name', 'name'),
    [
        ('voc', 'ImageSets/Main/train.txt'),
        ('coco', 'annotations/instances_train.json'),
        ('shards', 'train.index.json'),
    ],
)
def test_unreadable_list_is_refused(tmp_path: Path, format_name: str, name: str, way: str) -> None:
    write_files(tmp_path, valid_files(format_name))
    path = tmp_path / name
    path.unlink()
    if way == 'folder':
        path.mkdir()
    elif way != 'remove':
        path.symlink_to(path if way == 'loop' else tmp_path / 'nowhere')
    assert refuses(format_name, tmp_path)


def test_control_characters_of_a_name_are_escaped(tmp_path: Path) -> None:
    write_files(tmp_path, valid_files('voc') | {'ImageSets/Main/train.txt': b'a\x0eb\nc'})
    assert r'a\x0eb' in refuses('voc', tmp_path)
