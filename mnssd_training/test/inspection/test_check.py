"""Problems seeded into copies of a clean dataset are found."""

from collections.abc import Callable, Sequence
import json
from pathlib import Path
import shutil
from typing import Any

import cv2
from mnssd_training.config import SourceConfig
from mnssd_training.data.formats import guess_format, list_splits
from mnssd_training.data.problems import Problem
from mnssd_training.inspection import check, CheckResult
import numpy as np
from PIL import Image
import pytest

FORMATS = ('voc', 'yolo', 'coco', 'visdrone')
SIZE = (320, 256)  # width, height
CAR, BUS = 'Car', 'OtherVehicle'
LABELS = {'Person': 0, 'Car': 1, 'Bicycle': 2, 'OtherVehicle': 3}
VISDRONE = {'Person': 2, 'Car': 4, 'Bicycle': 3, 'OtherVehicle': 5}

Box = Sequence[Any]
CopyOf = Callable[[str], Path]


def run(root: Path, **options: Any) -> CheckResult:
    form = guess_format(root)
    source = SourceConfig(format=form, root=str(root))
    return check([source], list_splits(root, form), **options)


def found(root: Path, kind: str) -> list[Problem]:
    return [problem for problem in run(root).problems if problem.kind == kind]


# --- ways to corrupt ---------------------------------------------------------------------------


def image(root: Path, split: str = 'train', index: int = 0) -> Path:
    """An image of a split, by its place in the order of names."""
    form = guess_format(root)
    if form == 'visdrone':
        return sorted((root / f'VisDrone2019-DET-{split}' / 'images').iterdir())[index]
    if form == 'coco':
        content = json.loads((root / 'annotations' / f'instances_{split}.json').read_text())
        return root / 'images' / sorted(item['file_name'] for item in content['images'])[index]
    if form == 'yolo':
        lines = (root / 'splits' / f'{split}.txt').read_text().split()
        return root / 'images' / Path(sorted(lines)[index]).name
    names = sorted((root / 'ImageSets' / 'Main' / f'{split}.txt').read_text().split())
    return root / 'JPEGImages' / f'{names[index]}.jpg'


def annotation(root: Path, split: str = 'train', index: int = 0) -> Path:
    """The annotation of that image."""
    form, stem = guess_format(root), image(root, split, index).stem
    return {
        'voc': root / 'Annotations' / f'{stem}.xml',
        'yolo': root / 'labels' / f'{stem}.txt',
        'coco': root / 'annotations' / f'instances_{split}.json',
        'visdrone': root / f'VisDrone2019-DET-{split}' / 'annotations' / f'{stem}.txt',
    }[form]


def add_box(root: Path, box: Box, name: str = CAR, split: str = 'train', index: int = 0) -> None:
    """Add a box, xyxy in pixels, or whatever else is put for one of its numbers."""
    form, path = guess_format(root), annotation(root, split, index)
    x1, y1, x2, y2 = box
    numbers = all(isinstance(edge, float | int) for edge in box)
    if form == 'voc':
        edges = zip(('xmin', 'ymin', 'xmax', 'ymax'), box)
        place = ''.join(f'<{edge}>{value}</{edge}>' for edge, value in edges)
        element = f'<object><name>{name}</name><bndbox>{place}</bndbox></object>'
        path.write_text(path.read_text().replace('</annotation>', f'{element}</annotation>'))
        return
    wide, high = (x2 - x1, y2 - y1) if numbers else (x2, y2)
    if form == 'coco':
        content = json.loads(path.read_text())
        number = next(
            item['id']
            for item in content['images']
            if item['file_name'] == image(root, split, index).name
        )
        content['annotations'].append(
            {
                'id': 1 + max(item['id'] for item in content['annotations']),
                'image_id': number,
                'category_id': LABELS.get(name, 98) + 1,
                'bbox': [float('nan') if x == 'nan' else x for x in (x1, y1, wide, high)],
            }
        )
        path.write_text(json.dumps(content))
        return
    if form == 'visdrone':
        line = f'{x1},{y1},{wide},{high},1,{VISDRONE.get(name, 17)},0,0'
    elif numbers:
        values = ((x1 + x2) / 2 / SIZE[0], (y1 + y2) / 2 / SIZE[1], wide / SIZE[0], high / SIZE[1])
        line = ' '.join(map(str, (LABELS.get(name, 98), *values)))
    else:
        line = f'{LABELS[name]} {x1} {y1} {wide} {high}'
    path.write_text(f'{path.read_text().rstrip()}\n{line}\n')


def change_json(root: Path, change: Callable[[Any], object], split: str = 'train') -> None:
    path = root / 'annotations' / f'instances_{split}.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the pixels of an image."""
    cv2.imwrite(str(path), change(cv2.imread(str(path))))


def cut_image(root: Path) -> None:
    content = image(root).read_bytes()
    image(root).write_bytes(content[: len(content) // 2])


def cut_image_with_preview(root: Path) -> None:
    """A JPEG that is cut short, but holds the marker of an end: that of the preview inside."""
    content = image(root).read_bytes()
    comment = b'\xff\xfe\x00\x04\xff\xd9'
    image(root).write_bytes(content[:2] + comment + content[2 : len(content) // 2])


def smaller_image(root: Path) -> None:
    rewrite(image(root), lambda pixels: pixels[:-9, :-5])


def turned_image(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down: the size stays
    path = image(root)
    Image.open(path).save(path, exif=exif)


def deep_image(root: Path) -> None:
    """A PNG of 16 bits under the name of the JPEG; readers look at the content."""
    pixels = cv2.imread(str(image(root)), cv2.IMREAD_GRAYSCALE).astype(np.uint16) << 8
    image(root).write_bytes(cv2.imencode('.png', pixels)[1].tobytes())


def coloured_image(root: Path) -> None:
    rewrite(image(root), lambda pixels: cv2.applyColorMap(pixels, cv2.COLORMAP_JET))


def colour_stored(root: Path) -> None:
    rewrite(image(root), lambda pixels: pixels)


def same_image(root: Path, split: str) -> None:
    shutil.copy(image(root), image(root, split, 1))


def like_image(root: Path, split: str) -> None:
    """The same image, darker and saved worse."""
    target = image(root, split, 1)
    pixels = cv2.imread(str(image(root)))
    cv2.imwrite(str(target), pixels * 0.9, [cv2.IMWRITE_JPEG_QUALITY, 60])


def corrupt_annotation(root: Path) -> None:
    annotation(root).write_bytes(annotation(root).read_bytes()[:40] + b'\xff\xfe')


def bad_value(root: Path) -> None:
    add_box(root, (10, 'ten', 40, 40))


def list_name_twice(root: Path) -> None:
    if guess_format(root) == 'coco':

        def twice(content: Any) -> None:
            content['images'].append({**content['images'][0], 'id': 77})

        change_json(root, twice)
        return
    path = list_of(root, 'train')
    path.write_text(path.read_text().rstrip() + '\n' + path.read_text().split()[0] + '\n')


def list_of(root: Path, split: str) -> Path:
    folder = {'voc': Path('ImageSets/Main'), 'yolo': Path('splits')}[guess_format(root)]
    return root / folder / f'{split}.txt'


def list_in_both(root: Path) -> None:
    if guess_format(root) == 'coco':
        content = json.loads((root / 'annotations' / 'instances_train.json').read_text())
        extra = {**content['images'][0], 'id': 77}
        change_json(root, lambda val: val['images'].append(extra), 'val')
        return
    first = list_of(root, 'train').read_text().split()[0]
    path = list_of(root, 'val')
    path.write_text(path.read_text().rstrip() + f'\n{first}\n')


def repeat_class(root: Path) -> None:
    if guess_format(root) == 'coco':
        change_json(root, lambda x: x['categories'].append({'id': 9, 'name': 'Car'}))
    else:
        path = root / 'classes.txt'
        path.write_text(path.read_text().rstrip() + '\nCar\n')


def drop_class(root: Path, name: str, split: str) -> None:
    """Take all boxes of a class out of a split."""
    form = guess_format(root)
    if form == 'coco':

        def drop(content: Any) -> None:
            keep = [x for x in content['annotations'] if x['category_id'] != LABELS[name] + 1]
            content['annotations'] = keep

        change_json(root, drop, split)
        return
    for index in range(4):
        path = annotation(root, split, index)
        if form == 'voc':
            head, *objects = path.read_text().replace('</annotation>', '').split('<object>')
            keep = [text for text in objects if f'<name>{name}</name>' not in text]
            path.write_text('<object>'.join([head, *keep]) + '</annotation>')
        else:
            place, sign, key = (0, None, LABELS) if form == 'yolo' else (5, ',', VISDRONE)
            lines = path.read_text().splitlines()
            keep = [line for line in lines if line.split(sign)[place] != str(key[name])]
            path.write_text('\n'.join(keep))


def duplicate_box(root: Path, name: str) -> None:
    add_box(root, (150, 150, 200, 190), CAR)
    add_box(root, (150, 150, 200, 191), name)


def many_boxes(root: Path, odd: Box, num: int = 40) -> None:
    """Boxes of a class enough to tell what is usual, of sizes that vary, and an odd one."""
    for index in range(num):
        x, y = 2 + 20 * (index % 10), 2 + 25 * (index // 10)
        add_box(root, (x, y, x + 15 + index % 4, y + 15 + index % 3), BUS)
    add_box(root, odd, BUS)


def remove(*paths: Path) -> None:
    for path in paths:
        path.unlink()


NAMED = ('voc', 'yolo', 'coco')  # formats with lists, or what is like one

# Kind of name, formats that can have it, and how to put it in.
SEEDED: dict[str, tuple[str, Sequence[str], Callable[[Path], object]]] = {
    'missing image': ('image missing', NAMED, lambda root: remove(image(root))),
    'cut image': ('image unreadable', FORMATS, cut_image),
    'cut image with preview': ('image unreadable', FORMATS, cut_image_with_preview),
    'empty image': ('image unreadable', FORMATS, lambda root: image(root).write_bytes(b'')),
    'size differs': ('size differs', ('voc', 'coco'), smaller_image),
    'turned': ('orientation set', FORMATS, turned_image),
    '16 bit': ('not 8 bit', FORMATS, deep_image),
    'colour among grey': ('colour among grey', FORMATS, coloured_image),
    'grey stored as colour': ('grey stored as colour', FORMATS, colour_stored),
    'stray image': (
        'image without annotation',
        NAMED,
        lambda root: shutil.copy(image(root), image(root).with_name('stray.jpg')),
    ),
    'stray annotation': (
        'annotation without image',
        ('voc', 'yolo'),
        lambda root: annotation(root).with_stem('stray').write_text(''),
    ),
    'annotation file of no image': (
        'image missing',
        ('visdrone',),
        lambda root: annotation(root).with_stem('stray').write_text(''),
    ),
    'annotation of no image': (
        'unknown image',
        ('coco',),
        lambda root: change_json(root, lambda x: x['annotations'][0].update(image_id=999)),
    ),
    'missing annotation': (
        'annotation missing', ('voc', 'visdrone'), lambda root: remove(annotation(root))
    ),
    'missing label file': (
        'label file missing', ('yolo',), lambda root: remove(annotation(root))
    ),
    'corrupted annotation': ('annotation unreadable', FORMATS, corrupt_annotation),
    'bad value': ('bad value', FORMATS, bad_value),
    'nan': ('not finite', FORMATS, lambda root: add_box(root, ('nan', 1, 20, 20))),
    'unknown class': (
        'unknown class', FORMATS, lambda root: add_box(root, (9, 9, 40, 40), 'Tank')
    ),
    'off image': ('box off image', FORMATS, lambda root: add_box(root, (350, 9, 360, 40))),
    'over the edge': ('box outside', FORMATS, lambda root: add_box(root, (300, 9, 330, 40))),
    'no width': ('box degenerate', FORMATS, lambda root: add_box(root, (9, 9, 9, 40))),
    'inside out': ('box inverted', FORMATS, lambda root: add_box(root, (40, 9, 9, 40))),
    'tiny': ('box tiny', FORMATS, lambda root: add_box(root, (9, 9, 10, 40))),
    'covers all': ('box covers all', FORMATS, lambda root: add_box(root, (1, 1, 319, 255))),
    'drawn twice': ('box twice', FORMATS, lambda root: duplicate_box(root, CAR)),
    'two classes': ('two classes', FORMATS, lambda root: duplicate_box(root, BUS)),
    'unusual size': (
        'size unusual', FORMATS, lambda root: many_boxes(root, (50, 125, 250, 250))
    ),
    'unusual shape': (
        'shape unusual', FORMATS, lambda root: many_boxes(root, (100, 200, 250, 203))
    ),
    'same image': ('same image twice', FORMATS, lambda root: same_image(root, 'train')),
    'exact leak': ('same image in two splits', FORMATS, lambda root: same_image(root, 'val')),
    'like image': ('like images', FORMATS, lambda root: like_image(root, 'train')),
    'leak': ('like image in two splits', FORMATS, lambda root: like_image(root, 'val')),
    'in both lists': ('in two splits', NAMED, list_in_both),
    'listed twice': ('listed twice', NAMED, list_name_twice),
    'empty list': (
        'list unreadable', ('voc', 'yolo'), lambda root: list_of(root, 'val').write_text('\n')
    ),
    'not listed': (
        'in no split', ('voc', 'yolo'), lambda root: list_of(root, 'val').write_text(
            list_of(root, 'val').read_text().split()[0]
        ),
    ),
    'class twice': ('class list wrong', NAMED, repeat_class),
    'id twice': (
        'id twice',
        ('coco',),
        lambda root: change_json(
            root, lambda x: x['annotations'][1].update(id=x['annotations'][0]['id'])
        ),
    ),
    'only in val': ('class only in val', FORMATS, lambda root: drop_class(root, CAR, 'train')),
    'not in val': ('class not in val', FORMATS, lambda root: drop_class(root, CAR, 'val')),
    'unbalanced': (
        'classes unbalanced', FORMATS, lambda root: many_boxes(root, (250, 150, 265, 165), 80)
    ),
}  # fmt: skip


@pytest.fixture(scope='module')
def clean(small_sets: dict[str, Path]) -> dict[str, CheckResult]:
    """What is said of the clean datasets: few images make rare classes."""
    return {form: run(root) for form, root in small_sets.items()}


@pytest.mark.parametrize('form', FORMATS)
def test_clean_dataset_has_no_errors(clean: dict[str, CheckResult], form: str) -> None:
    checked = clean[form]
    num_boxes = 38 if form == 'voc' else 34  # 4 ignore regions
    assert (checked.num_images, checked.num_boxes) == (8, num_boxes)
    kinds = {problem.kind for problem in checked.problems}
    assert kinds <= {'class rare', 'class unused', 'class not in val', 'images without boxes'}


@pytest.mark.parametrize(
    ('name', 'form'),
    [(name, form) for name, (_, forms, _) in SEEDED.items() for form in forms],
)
def test_seeded_problem_is_found(
    clean: dict[str, CheckResult], copy_of: CopyOf, name: str, form: str
) -> None:
    kind, _, corrupt = SEEDED[name]
    before = [(f.kind, f.location, f.message) for f in clean[form].problems]
    root = copy_of(form)
    corrupt(root)
    new = [f for f in run(root).problems if (f.kind, f.location, f.message) not in before]
    named = [problem for problem in new if problem.kind == kind]
    assert named, new
    assert all(root in Path(problem.file).parents or Path(problem.file) == root for problem in new)
