"""The same few photographs as a small sound data set of each format."""

from collections.abc import Mapping
from dataclasses import dataclass
import json
from pathlib import Path
import tempfile

import cv2
from mnssd_training.config import DataConfig
from mnssd_training.data import read_splits
from mnssd_training.data.shard_writer import ShardLimit, write_shards
import numpy as np

__all__ = ['DatasetFiles', 'make_datasets', 'write_files']

WIDTH, HEIGHT = 64, 48
SPLITS = {'train': ('a', 'b', 'c'), 'val': ('d', 'e')}
CLASSES = ('car', 'person')
BOXES = ((4, 6, 24, 30, 0), (30, 10, 60, 40, 1))  # x1, y1, x2, y2 in pixels, label


@dataclass(frozen=True)
class DatasetFiles:
    """
    A small data set.

    :ivar format: as the experiment calls it.
    :ivar files: path to content, photographs included.
    :ivar annotations: the paths of what people and programs write: lists, labels, indices.
    """

    format: str
    files: Mapping[str, bytes]
    annotations: tuple[str, ...]


def make_datasets() -> dict[str, DatasetFiles]:
    """
    Make the data sets.

    :return: format to data set.
    """
    made = {}
    for name, files in (
        ('voc', _voc()),
        ('coco', _coco()),
        ('yolo', _yolo()),
        ('visdrone', _visdrone()),
        ('shards', _shards()),
    ):
        annotations = tuple(path for path in files if not path.endswith(('.jpg', '.tar')))
        made[name] = DatasetFiles(name, files, annotations)
    return made


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """
    Write files.

    :param folder: where to.
    :param files: path to content.
    """
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def _photographs(pattern: str) -> dict[str, bytes]:
    """Make a photograph a name, each of another grey."""
    files = {}
    for split, names in SPLITS.items():
        for name in names:
            image = np.full((HEIGHT, WIDTH, 3), 20 * ord(name) % 256, np.uint8)
            path = pattern.format(split=split, name=name)
            files[path] = cv2.imencode('.jpg', image)[1].tobytes()
    return files


def _voc() -> dict[str, bytes]:
    """Make a data set of PASCAL VOC layout."""
    objects = ''.join(
        f'  <object>\n    <name>{CLASSES[label]}</name>\n    <difficult>{label}</difficult>\n'
        f'    <bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>'
        '</bndbox>\n  </object>\n'
        for x1, y1, x2, y2, label in BOXES
    )
    size = f'<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>'
    files = _photographs('JPEGImages/{name}.jpg')
    files['classes.txt'] = '\n'.join(CLASSES).encode()
    for split, names in SPLITS.items():
        files[f'ImageSets/Main/{split}.txt'] = ('\n'.join(names) + '\n').encode()
        for name in names:
            text = f'<annotation>\n  {size}\n{objects}</annotation>\n'
            files[f'Annotations/{name}.xml'] = text.encode()
    return files


def _coco() -> dict[str, bytes]:
    """Make a data set of COCO layout."""
    files = _photographs('images/{name}.jpg')
    for split, names in SPLITS.items():
        images = [
            {'id': 7 * i, 'file_name': f'{name}.jpg', 'width': WIDTH, 'height': HEIGHT}
            for i, name in enumerate(names)
        ]
        annotations = [
            {
                'id': 10 * i + label,
                'image_id': 7 * i,
                'category_id': 3 + label,
                'bbox': [x1, y1, x2 - x1, y2 - y1],
                'area': (x2 - x1) * (y2 - y1),
                'iscrowd': label,
            }
            for i in range(len(names))
            for x1, y1, x2, y2, label in BOXES
        ]
        plain = {
            'images': images,
            'annotations': annotations,
            'categories': [{'id': 3 + i, 'name': name} for i, name in enumerate(CLASSES)],
        }
        files[f'annotations/instances_{split}.json'] = json.dumps(plain, indent=1).encode()
    return files


def _yolo() -> dict[str, bytes]:
    """Make a data set of YOLO layout."""
    lines = [
        f'{label} {(x1 + x2) / 2 / WIDTH:.6f} {(y1 + y2) / 2 / HEIGHT:.6f} '
        f'{(x2 - x1) / WIDTH:.6f} {(y2 - y1) / HEIGHT:.6f}\n'
        for x1, y1, x2, y2, label in BOXES
    ]
    files = _photographs('images/{name}.jpg')
    # The list of classes is data.yaml here, as classes.txt is that of the VOC data set.
    files['data.yaml'] = f'names: {{0: {CLASSES[0]}, 1: {CLASSES[1]}}}\nnc: 2\n'.encode()
    for split, names in SPLITS.items():
        listed = ''.join(f'/elsewhere/images/{name}.jpg\n' for name in names)
        files[f'splits/{split}.txt'] = listed.encode()
        for name in names:
            files[f'labels/{name}.txt'] = ''.join(lines).encode()
    return files


def _visdrone() -> dict[str, bytes]:
    """Make a data set of VisDrone layout."""
    lines = [
        f'{x1},{y1},{x2 - x1},{y2 - y1},{1 - label},{4 * label},0,0\n'
        for x1, y1, x2, y2, label in BOXES
    ]
    files = _photographs('VisDrone2019-DET-{split}/images/{name}.jpg')
    for split, names in SPLITS.items():
        for name in names:
            path = f'VisDrone2019-DET-{split}/annotations/{name}.txt'
            files[path] = ''.join(lines).encode()
    return files


def _shards() -> dict[str, bytes]:
    """Make a data set in shards, of another one."""
    with tempfile.TemporaryDirectory(prefix='mnssd_attack_') as place:
        folder = Path(place)
        write_files(folder / 'coco', _coco())
        splits = read_splits(DataConfig(format='coco', root=str(folder / 'coco')))
        for name in SPLITS:
            samples = getattr(splits, name)
            write_shards(samples, splits.class_names, folder / 'shards', name, ShardLimit(2))
        return {path.name: path.read_bytes() for path in (folder / 'shards').iterdir()}
