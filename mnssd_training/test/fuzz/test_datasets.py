"""Datasets with a corrupt, missing or replaced annotation file."""

from functools import lru_cache
import json
from pathlib import Path
import shutil
import tempfile
from typing import Any
from xml.etree import ElementTree

import cv2
from fuzzing import corrupt_data, corrupt_text, fuzz_settings, refusal, write_files
from hypothesis import given
from hypothesis import strategies as st
from mnssd_training.config import DataConfig
from mnssd_training.data import load_image, read_splits
from mnssd_training.data.shard_writer import ShardLimit, write_shards
import numpy as np
import pytest

WIDTH, HEIGHT = 64, 48
SPLITS = {'train': ('a', 'b', 'c'), 'val': ('d', 'e')}
CLASSES = ('car', 'person')
BOXES = ((4, 6, 24, 30, 0), (30, 10, 60, 40, 1))  # x1, y1, x2, y2 in pixels, label
FORMATS = ('voc', 'coco', 'yolo', 'visdrone', 'shards')
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


def image_files(pattern: str) -> dict[str, bytes]:
    image = np.full((HEIGHT, WIDTH, 3), 99, np.uint8)
    encoded = cv2.imencode('.jpg', image)[1].tobytes()
    return {
        pattern.format(split=split, name=name): encoded
        for split, names in SPLITS.items()
        for name in names
    }


def voc_files() -> dict[str, bytes]:
    objects = ''.join(
        f'<object><name>{CLASSES[label]}</name>\n<difficult>{label}</difficult>\n<bndbox>'
        f'<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>\n'
        for x1, y1, x2, y2, label in BOXES
    )
    size = f'<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>'
    files = image_files('JPEGImages/{name}.jpg') | {'classes.txt': '\n'.join(CLASSES).encode()}
    for split, names in SPLITS.items():
        files[f'ImageSets/Main/{split}.txt'] = '\n'.join(names).encode()
        for name in names:
            files[f'Annotations/{name}.xml'] = f'<annotation>{size}{objects}</annotation>'.encode()
    return files


def coco_files() -> dict[str, bytes]:
    files = image_files('images/{name}.jpg')
    for split, names in SPLITS.items():
        content = {
            'images': [
                {'id': 7 * i, 'file_name': f'{name}.jpg', 'width': WIDTH, 'height': HEIGHT}
                for i, name in enumerate(names)
            ],
            'annotations': [
                {'id': 10 * i + label, 'image_id': 7 * i, 'category_id': 3 + label,
                 'bbox': [x1, y1, x2 - x1, y2 - y1], 'area': (x2 - x1) * (y2 - y1),
                 'iscrowd': label}
                for i in range(len(names)) for x1, y1, x2, y2, label in BOXES
            ],
            'categories': [{'id': 3 + i, 'name': name} for i, name in enumerate(CLASSES)],
        }  # fmt: skip
        files[f'annotations/instances_{split}.json'] = json.dumps(content, indent=1).encode()
    return files


def yolo_files() -> dict[str, bytes]:
    lines = ''.join(
        f'{label} {(x1 + x2) / 2 / WIDTH:.6f} {(y1 + y2) / 2 / HEIGHT:.6f} '
        f'{(x2 - x1) / WIDTH:.6f} {(y2 - y1) / HEIGHT:.6f}\n'
        for x1, y1, x2, y2, label in BOXES
    )
    files = image_files('images/{name}.jpg') | {
        'data.yaml': b'names: {0: car, 1: person}\nnc: 2\n'
    }
    for split, names in SPLITS.items():
        listed = ''.join(f'/elsewhere/images/{name}.jpg\n' for name in names)
        files[f'splits/{split}.txt'] = listed.encode()
        files |= {f'labels/{name}.txt': lines.encode() for name in names}
    return files


def visdrone_files() -> dict[str, bytes]:
    lines = ''.join(
        f'{x1},{y1},{x2 - x1},{y2 - y1},{1 - label},{4 * label},0,0\n'
        for x1, y1, x2, y2, label in BOXES
    )
    folder = 'VisDrone2019-DET-{split}'
    files = image_files(f'{folder}/images/{{name}}.jpg')
    for split, names in SPLITS.items():
        for name in names:
            files[f'{folder.format(split=split)}/annotations/{name}.txt'] = lines.encode()
    return files


def shard_files() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        write_files(folder / 'coco', coco_files())
        splits = read_splits(DataConfig(format='coco', root=str(folder / 'coco')))
        for name in SPLITS:
            samples = getattr(splits, name)
            write_shards(samples, splits.class_names, folder / 'shards', name, ShardLimit(2))
        return {path.name: path.read_bytes() for path in (folder / 'shards').iterdir()}


@lru_cache
def valid_files(format_name: str) -> dict[str, bytes]:
    makers = (voc_files, coco_files, yolo_files, visdrone_files, shard_files)
    return dict(zip(FORMATS, makers))[format_name]()


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
