"""
PASCAL VOC annotations to samples.

Everingham et al., The PASCAL Visual Object Classes Challenge. Coordinates are taken as continuous
edges, as they are written; objects marked difficult become ignore regions of their class, and
names such as DontCare ignore regions of any class.
"""

import contextlib
from dataclasses import dataclass
import math
from pathlib import Path
from xml.etree import ElementTree

from mnssd_training.data.sample import ANY_CLASS, Sample
from mnssd_training.errors import DatasetError
import numpy as np

__all__ = ['IGNORE_NAMES', 'read_classes', 'read_voc', 'read_voc_annotation']

IGNORE_NAMES = frozenset({'dontcare', 'ignore', 'ignored', 'ignored regions', 'misc'})
MAX_SIDE = 1 << 16  # pixels
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff')


@dataclass(frozen=True)
class _Object:
    """One object element of an annotation."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


def read_voc(root: Path, split: str, class_names: tuple[str, ...] | None = None) -> list[Sample]:
    """
    Read one split of a PASCAL VOC folder.

    :param root: folder with ``Annotations``, ``JPEGImages`` and ``ImageSets/Main``.
    :param split: name of the list in ``ImageSets/Main``, without suffix.
    :param class_names: the classes in the order of their labels; by default ``classes.txt``.
    :return: the samples in the order of the list.
    :raises DatasetError: naming the file that is missing or wrong.
    """
    root = Path(root)
    classes = class_names or read_classes(root)
    list_path = root / 'ImageSets' / 'Main' / f'{split}.txt'
    names = [line.split()[0] for line in _read_text(list_path).splitlines() if line.strip()]
    if not names:
        raise DatasetError(list_path, 'expected a name a line, got an empty list')
    repeated = (
        {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()
    )
    if repeated:
        raise DatasetError(list_path, f'{min(repeated)!r} is listed more than once')
    return [
        read_voc_annotation(
            root / 'Annotations' / f'{name}.xml', _find_image(root / 'JPEGImages', name), classes
        )
        for name in names
    ]


def read_classes(root: Path) -> tuple[str, ...]:
    """
    Read the class list of a data set.

    :param root: folder with ``classes.txt``, one name a line.
    :return: the names in the order of their labels.
    :raises DatasetError: if the file is missing, empty or repeats a name.
    """
    path = root / 'classes.txt'
    names = tuple(line.strip() for line in _read_text(path).splitlines() if line.strip())
    if not names or len(set(names)) != len(names):
        raise DatasetError(path, f'expected class names that differ, one a line, got {names}')
    return names


def read_voc_annotation(path: Path, image: Path, class_names: tuple[str, ...]) -> Sample:
    """
    Read one annotation.

    Boxes are cut at the edges of the image; one that is then empty is an error.

    :param path: the XML file.
    :param image: the image file.
    :param class_names: the classes in the order of their labels.
    :return: the sample.
    :raises DatasetError: naming the file, the object and what is wrong with it.
    """
    try:
        tree = ElementTree.fromstring(_read_text(path))
    except ElementTree.ParseError as error:
        raise DatasetError(path, f'not XML: {error}') from error
    size = (_number(path, tree, 'size/height'), _number(path, tree, 'size/width'))
    if not all(side.is_integer() and 1 <= side <= MAX_SIDE for side in size):
        raise DatasetError(path, f'expected sides of 1 to {MAX_SIDE} whole pixels, got {size}')
    height, width = (int(side) for side in size)
    boxes, labels, ignore, ignore_labels = [], [], [], []
    for index, element in enumerate(tree.iter('object')):
        item = _read_object(path, element, index)
        box = _clip(path, item, index, width, height)
        if item.name.lower() in IGNORE_NAMES and item.name not in class_names:
            ignore.append(box)
            ignore_labels.append(ANY_CLASS)
        elif item.name not in class_names:
            raise DatasetError(
                path,
                f'object {index} is of class {item.name!r}; known are {", ".join(class_names)}',
            )
        elif item.difficult:
            ignore.append(box)
            ignore_labels.append(class_names.index(item.name))
        else:
            boxes.append(box)
            labels.append(class_names.index(item.name))
    return Sample(
        name=path.stem,
        path=image,
        size=(height, width),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        ignore=np.array(ignore, np.float32).reshape(-1, 4),
        ignore_labels=np.array(ignore_labels, np.int64),
    )


def _read_object(path: Path, element: ElementTree.Element, index: int) -> _Object:
    """Read one object element."""
    where = f'object {index}'
    name = (element.findtext('name') or '').strip()
    if not name:
        raise DatasetError(path, f'{where} has no name')
    x1, y1, x2, y2 = (
        _number(path, element, f'bndbox/{edge}', where)
        for edge in ('xmin', 'ymin', 'xmax', 'ymax')
    )
    difficult = (element.findtext('difficult') or '0').strip()
    if difficult not in ('0', '1'):
        raise DatasetError(path, f'{where}: expected difficult 0 or 1, got {difficult!r}')
    return _Object(name, (x1, y1, x2, y2), difficult == '1')


def _clip(
    path: Path, item: _Object, index: int, width: int, height: int
) -> tuple[float, float, float, float]:
    """Cut a box at the edges of the image."""
    x1, y1, x2, y2 = item.box
    edges = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    x1, y1, x2, y2 = np.array(edges, np.float32).tolist()  # as it is kept: this may empty it
    if x2 <= x1 or y2 <= y1:
        raise DatasetError(
            path, f'object {index}: expected a box inside {width} x {height}, got {item.box}'
        )
    return x1, y1, x2, y2


def _number(path: Path, element: ElementTree.Element, tag: str, where: str = '') -> float:
    """Read the number in a tag."""
    text = element.findtext(tag)
    name = f'{where}: {tag}' if where else tag
    if text is None:
        raise DatasetError(path, f'{name} is missing')
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DatasetError(path, f'{name}: expected a number, got {text.strip()!r}')
    return value


def _find_image(folder: Path, name: str) -> Path:
    """Find the image file of a name."""
    for suffix in IMAGE_SUFFIXES:
        for candidate in (folder / f'{name}{suffix}', folder / f'{name}{suffix.upper()}'):
            with contextlib.suppress(OSError, ValueError):  # of a name that no file can have
                if candidate.exists():
                    return candidate
    raise DatasetError(folder / name, f'no image with a suffix of {", ".join(IMAGE_SUFFIXES)}')


def _read_text(path: Path) -> str:
    """Read a text file."""
    try:
        return path.read_text(encoding='utf-8-sig')
    except FileNotFoundError as error:
        raise DatasetError(path, 'no such file') from error
    except (OSError, ValueError) as error:
        raise DatasetError(path, f'cannot be read as text: {error}') from error
