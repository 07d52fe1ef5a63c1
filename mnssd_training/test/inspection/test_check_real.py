"""Problems seeded into copies of the shared datasets, all at once, are found."""

from collections.abc import Callable
import json
from pathlib import Path
import shutil
from typing import Any

import cv2
from mnssd_training.config import SourceConfig
from mnssd_training.data.formats import Format, list_splits
from mnssd_training.data.problems import Problem
from mnssd_training.inspection import check
import numpy as np
from PIL import Image
import pytest

SHARED = Path(__file__).parents[4] / 'shared' / 'data'
NTH = 10  # of the images of the largest set one of so many is looked at
SETS: dict[str, Format] = {'hit_uav': 'voc', 'aerial_cars': 'yolo', 'sea_drones': 'coco'}

# Kind of problem -> box as (left, top, width, height), in parts of the image.
BOXES = {
    'not finite': (float('nan'), 0.1, 0.1, 0.1),
    'box inverted': (0.5, 0.5, -0.1, 0.1),
    'box off image': (1.2, 0.5, 0.1, 0.1),
    'box outside': (0.9, 0.5, 0.2, 0.1),
    'box tiny': (0.5, 0.5, 0.001, 0.1),
    'box covers all': (0.0, 0.0, 1.0, 1.0),
    'unknown class': (0.4, 0.4, 0.1, 0.1),
}


class CorruptDataset:
    """A copy of a dataset, and which file must be named for which kind of name."""

    def __init__(self, root: Path, form: str) -> None:
        self.root, self.form = root, form
        self.folder = root / ('JPEGImages' if form == 'voc' else 'images')
        self.train, self.val = (self._images(split) for split in ('train', 'val'))
        self.expected: dict[str, str] = {}

    def _images(self, split: str) -> list[Path]:
        if self.form == 'voc':
            names = (self.root / 'ImageSets' / 'Main' / f'{split}.txt').read_text().split()
            return [self.folder / f'{name}.jpg' for name in names]
        if self.form == 'yolo':
            names = (self.root / 'splits' / f'{split}.txt').read_text().split()
            return [self.folder / Path(name).name for name in names]
        return [self.folder / item['file_name'] for item in self._json(split)['images']]

    def _json(self, split: str) -> dict[str, Any]:
        path = self.root / 'annotations' / f'instances_{split}.json'
        content: dict[str, Any] = json.loads(path.read_text())
        return content

    def corrupt_image(self, kind: str, path: Path, corrupt: Callable[[Path], object]) -> None:
        corrupt(path)
        self.expected[kind] = path.name

    def add_box(self, kind: str, image: Path) -> None:
        height, width = cv2.imread(str(image)).shape[:2]
        x, y, w, h = (a * b for a, b in zip(BOXES[kind], (width, height, width, height)))
        is_unknown = kind == 'unknown class'
        if self.form == 'voc':
            path = self.root / 'Annotations' / f'{image.stem}.xml'
            place = f'<xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>'
            element = f'<object><name>{"Tank" if is_unknown else "Car"}</name>'
            element += f'<bndbox>{place}</bndbox></object></annotation>'
            path.write_text(path.read_text().replace('</annotation>', element))
            self.expected[kind] = path.name
        elif self.form == 'yolo':
            path = self.root / 'labels' / f'{image.stem}.txt'
            x, y, w, h = BOXES[kind]
            line = f'{7 if is_unknown else 0} {x + w / 2} {y + h / 2} {w} {h}'
            path.write_text(f'{path.read_text().rstrip()}\n{line}\n')
            self.expected[kind] = path.name
        else:
            content = self._json('train')
            numbers = {item['file_name']: item['id'] for item in content['images']}
            key = 10_000 + len(self.expected)
            category = 99 if is_unknown else 2
            one = {'id': key, 'image_id': numbers[image.name], 'bbox': [x, y, w, h]}
            content['annotations'].append({**one, 'category_id': category})
            path = self.root / 'annotations' / 'instances_train.json'
            path.write_text(json.dumps(content))
            self.expected[kind] = f'annotation {key}'

    def names(self, kind: str, problem: Problem) -> bool:
        """Tell whether a problem is the expected one."""
        place = f'{Path(problem.file).name} {problem.location} {problem.message}'
        return problem.kind == kind and self.expected[kind] in place


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3000])


def turn(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(path).save(path, exif=exif, quality=95)


def deepen(path: Path) -> None:
    pixels = cv2.imread(str(path)).astype(np.uint16) << 8
    path.write_bytes(cv2.imencode('.png', pixels)[1].tobytes())


@pytest.mark.slow
@pytest.mark.parametrize('name', SETS)
def test_every_seeded_problem_is_found(name: str, tmp_path: Path) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f'needs {SHARED / name}')
    form = SETS[name]
    source = SourceConfig(format=form, root=str(tmp_path / name))
    shutil.copytree(SHARED / name, tmp_path / name)
    for path in (tmp_path / name / 'ImageSets' / 'Main').glob('*.txt'):  # the one large set
        path.write_text('\n'.join(path.read_text().split()[::NTH]) + '\n')
    corrupted = CorruptDataset(tmp_path / name, form)
    train, val = iter(corrupted.train), iter(corrupted.val)
    corrupted.corrupt_image('image missing', next(train), Path.unlink)
    corrupted.corrupt_image('image unreadable', next(train), cut)
    corrupted.corrupt_image('orientation set', next(train), turn)
    corrupted.corrupt_image('not 8 bit', next(train), deepen)
    corrupted.corrupt_image(
        'same image in two splits', next(val), lambda path: shutil.copy(next(train), path)
    )
    corrupted.corrupt_image(
        'like image in two splits',
        next(val),
        lambda path: cv2.imwrite(
            str(path), cv2.imread(str(next(train))), [cv2.IMWRITE_JPEG_QUALITY, 50]
        ),
    )
    corrupted.corrupt_image(
        'image without annotation',
        corrupted.folder / 'stray.jpg',
        lambda path: shutil.copy(next(val), path),
    )
    for kind in BOXES:
        corrupted.add_box(kind, next(train))
    assert len(corrupted.expected) == 14
    problems = check([source], list_splits(corrupted.root, form)).problems
    missed = [
        kind
        for kind in corrupted.expected
        if not any(corrupted.names(kind, problem) for problem in problems)
    ]
    assert missed == []
    allowed = {*corrupted.expected, 'size differs'}  # another image may have another size
    unexpected = [
        problem
        for problem in problems
        if (problem.severity == 'error' or 'two splits' in problem.kind)
        and problem.kind not in allowed
    ]
    assert unexpected == []
