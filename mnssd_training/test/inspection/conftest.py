"""One small dataset of real images, in every format."""

from collections.abc import Callable
from dataclasses import replace
import json
from pathlib import Path
import shutil
from typing import Any

import cv2
from mnssd_training.config import SourceConfig
from mnssd_training.data import read_samples, Sample
from mnssd_training.data.visdrone import VISDRONE_CLASSES
import numpy as np
import pytest

CLASSES = ('Person', 'Car', 'Bicycle', 'OtherVehicle')


def halved(sample: Sample, folder: Path) -> Sample:
    """The same image, half as wide and high, which is read faster."""
    pixels = cv2.imread(str(sample.path), cv2.IMREAD_GRAYSCALE)
    half = cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    path = folder / f'{sample.name}.jpg'
    cv2.imwrite(str(path), half)
    size = (sample.size[0] // 2, sample.size[1] // 2)
    boxes, ignore = (array / np.float32(2) for array in (sample.boxes, sample.ignore))
    return replace(sample, path=path, size=size, boxes=boxes, ignore=ignore)


def write_voc(root: Path, split: str, samples: list[Sample]) -> None:
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / 'classes.txt').write_text('\n'.join(CLASSES) + '\n')
    for sample in samples:
        shutil.copy(str(sample.path), root / 'JPEGImages')
        height, width = sample.size
        names = [CLASSES[label] for label in sample.labels] + ['DontCare'] * len(sample.ignore)
        objects = ''.join(
            f'<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>'
            f'<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>'
            for name, (x1, y1, x2, y2) in zip(names, [*sample.boxes, *sample.ignore])
        )
        size = f'<size><width>{width}</width><height>{height}</height></size>'
        path = root / 'Annotations' / f'{sample.name}.xml'
        path.write_text(f'<annotation>{size}{objects}</annotation>')
    names = [sample.name for sample in samples]
    (root / 'ImageSets' / 'Main' / f'{split}.txt').write_text('\n'.join(names) + '\n')


def write_yolo(root: Path, split: str, samples: list[Sample]) -> None:
    for folder in ('images', 'labels', 'splits'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / 'classes.txt').write_text('\n'.join(CLASSES) + '\n')
    for sample in samples:
        shutil.copy(str(sample.path), root / 'images')
        height, width = sample.size
        lines = []
        for (x1, y1, x2, y2), label in zip(sample.boxes.tolist(), sample.labels.tolist()):
            numbers = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height]
            numbers += [(x2 - x1) / width, (y2 - y1) / height]
            lines.append(f'{label} ' + ' '.join(f'{number:.6f}' for number in numbers))
        (root / 'labels' / f'{sample.name}.txt').write_text('\n'.join(lines))
    lines = [f'/elsewhere/images/{sample.name}.jpg' for sample in samples]
    (root / 'splits' / f'{split}.txt').write_text('\n'.join(lines) + '\n')


def write_coco(root: Path, split: str, samples: list[Sample]) -> None:
    for folder in ('images', 'annotations'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, sample in enumerate(samples, 10):
        shutil.copy(str(sample.path), root / 'images')
        height, width = sample.size
        name = f'{sample.name}.jpg'
        images.append({'id': number, 'file_name': name, 'height': height, 'width': width})
        for (x1, y1, x2, y2), label in zip(sample.boxes.tolist(), sample.labels.tolist()):
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': number,
                    'category_id': label + 1,
                    'bbox': [x1, y1, x2 - x1, y2 - y1],
                    'iscrowd': 0,
                }
            )
    categories = [{'id': key, 'name': name} for key, name in enumerate(CLASSES, 1)]
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    (root / 'annotations' / f'instances_{split}.json').write_text(json.dumps(content))


def write_visdrone(root: Path, split: str, samples: list[Sample]) -> None:
    folder = root / f'VisDrone2019-DET-{split}'
    for name in ('images', 'annotations'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    categories = [VISDRONE_CLASSES.index(name) + 1 for name in ('people', 'car', 'bicycle', 'van')]
    for sample in samples:
        shutil.copy(str(sample.path), folder / 'images')
        lines = [
            f'{x1:g},{y1:g},{x2 - x1:g},{y2 - y1:g},1,{categories[label]},0,0'
            for (x1, y1, x2, y2), label in zip(sample.boxes.tolist(), sample.labels.tolist())
        ]
        (folder / 'annotations' / f'{sample.name}.txt').write_text('\n'.join(lines))


WRITERS = {'voc': write_voc, 'yolo': write_yolo, 'coco': write_coco, 'visdrone': write_visdrone}


@pytest.fixture(scope='session')
def small_sets(hit_uav: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The eight images in each format, half as wide and high: format to folder."""
    folder = tmp_path_factory.mktemp('small_sets')
    for split in ('train', 'val'):
        samples = [
            halved(sample, folder)
            for sample in read_samples(SourceConfig(root=str(hit_uav)), split)
        ]
        for form, write in WRITERS.items():
            write(folder / form, split, samples)
    return {form: folder / form for form in WRITERS}


@pytest.fixture
def copy_of(small_sets: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Copy the dataset of a format, to corrupt it."""

    def copy(form: str) -> Path:
        return Path(shutil.copytree(small_sets[form], tmp_path / form))

    return copy
