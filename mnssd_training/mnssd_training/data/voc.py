"""
PASCAL VOC annotations to samples.

Everingham et al., The PASCAL Visual Object Classes Challenge. Coordinates are taken as continuous
edges, as they are written; objects marked difficult become ignore regions of their class, and
names such as DontCare ignore regions of any class.
"""

from collections.abc import Sequence
import contextlib
from dataclasses import dataclass
import math
from pathlib import Path
from xml.etree import ElementTree

from mnssd_perception.ssd.spec import MAX_IMAGE_SIDE
from mnssd_training.config.data import SourceConfig
from mnssd_training.data.reading import (
    AnnotationBuilder,
    DatasetSplit,
    IGNORE_NAMES,
    IMAGE_SUFFIXES,
    read_classes,
    read_text,
    read_xml,
)
from mnssd_training.data.sample import ANY_CLASS, Sample
from mnssd_training.errors import DatasetError


@dataclass(frozen=True)
class _Object:
    """One object element of an annotation."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


@dataclass(frozen=True)
class _Annotation:
    """One XML file."""

    path: Path
    size: tuple[int, int]
    objects: tuple[_Object, ...]


def read_voc_source(source: SourceConfig, split: str) -> DatasetSplit:
    """
    Read one split of a dataset of PASCAL VOC layout.

    The classes are those of ``classes.txt``; without it, the names that the annotations hold, by
    alphabet, which is also the order of the twenty of the challenge.

    :param source: the dataset.
    :param split: a list in ``ImageSets/Main``, by name or as a path; a flag after a name, as in
        the lists of one class, is not looked at.
    :return: what the split holds.
    :raises DatasetError: naming the file that is missing or wrong.
    """
    root = Path(source.root).expanduser()
    names = _read_list(root, split)
    annotations = [_parse(root / 'Annotations' / f'{name}.xml') for name in names]
    classes, declared = _classes(source, root, annotations)
    samples = [
        _sample(
            name,
            annotation,
            find_image(root / 'JPEGImages', name),
            classes,
            source.use_difficult,
        )
        for name, annotation in zip(names, annotations)
    ]
    return DatasetSplit(classes, samples, declared)


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
    return [
        _sample(
            name,
            _parse(root / 'Annotations' / f'{name}.xml'),
            find_image(root / 'JPEGImages', name),
            classes,
        )
        for name in _read_list(root, split)
    ]


def read_voc_annotation(
    path: Path, image: Path, class_names: tuple[str, ...], use_difficult: bool = False
) -> Sample:
    """
    Read one annotation.

    Boxes are cut at the edges of the image; one that is then empty is an error.

    :param path: the XML file.
    :param image: the image file.
    :param class_names: the classes in the order of their labels.
    :param use_difficult: take objects marked difficult for objects.
    :return: the sample.
    :raises DatasetError: naming the file, the object and what is wrong with it.
    """
    return _sample(path.stem, _parse(path), image, class_names, use_difficult)


def _read_list(root: Path, split: str) -> list[str]:
    """Read the names of a split."""
    path = root / 'ImageSets' / 'Main' / f'{split}.txt'
    if split.endswith('.txt'):
        path = root / split if (root / split).is_file() else Path(split).expanduser()
    names = [line.split()[0] for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise DatasetError(path, 'expected a name a line, got an empty list')
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DatasetError(path, f'{name!r} is listed more than once')
        seen.add(name)
    return names


def _classes(
    source: SourceConfig, root: Path, annotations: Sequence[_Annotation]
) -> tuple[tuple[str, ...], bool]:
    """Find out the classes, and whether the dataset lists them."""
    renamed = tuple(name for name in source.class_map if name != '*')
    found = {item.name for annotation in annotations for item in annotation.objects}
    found = {name for name in found if name in renamed or name.lower() not in IGNORE_NAMES}
    if (root / 'classes.txt').exists():
        listed = read_classes(root)
        extra = found & set(renamed) if '*' not in source.class_map else found
        return listed + tuple(sorted(extra - set(listed))), True
    return tuple(sorted(found)), False


def _parse(path: Path) -> _Annotation:
    """Read an XML file."""
    tree = read_xml(path)
    size = (_number(path, tree, 'size/height'), _number(path, tree, 'size/width'))
    if not all(side.is_integer() and 1 <= side <= MAX_IMAGE_SIDE for side in size):
        raise DatasetError(
            path, f'expected sides of 1 to {MAX_IMAGE_SIDE} whole pixels, got {size}'
        )
    objects = (
        _read_object(path, element, index) for index, element in enumerate(tree.iter('object'))
    )
    return _Annotation(path, (int(size[0]), int(size[1])), tuple(objects))


def _sample(
    name: str,
    annotation: _Annotation,
    image: Path,
    class_names: tuple[str, ...],
    use_difficult: bool = False,
) -> Sample:
    """Give the objects of an annotation their labels."""
    path, (height, width) = annotation.path, annotation.size
    regions = AnnotationBuilder(width, height)
    for index, item in enumerate(annotation.objects):
        box = regions.clip(item.box)
        if box is None:
            raise DatasetError(
                path, f'object {index}: expected a box inside {width} x {height}, got {item.box}'
            )
        if item.name in class_names:
            regions.add(box, class_names.index(item.name), item.difficult and not use_difficult)
        elif item.name.lower() in IGNORE_NAMES:
            regions.add(box, ANY_CLASS)
        else:
            raise DatasetError(
                path,
                f'object {index} is of class {item.name!r}; known are {", ".join(class_names)}; '
                f'data.class_map can give it another name, or an empty one to ignore it',
            )
    return Sample(name, image, annotation.size, *regions.arrays())


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


def find_image(folder: Path, name: str) -> Path:
    """
    Find the image file of a name.

    :param folder: of the images.
    :param name: without suffix.
    :return: the file.
    :raises DatasetError: if there is none.
    """
    for suffix in IMAGE_SUFFIXES:
        for candidate in (folder / f'{name}{suffix}', folder / f'{name}{suffix.upper()}'):
            with contextlib.suppress(OSError, ValueError):  # of a name that no file can have
                if candidate.exists():
                    return candidate
    raise DatasetError(folder / name, f'no image with a suffix of {", ".join(IMAGE_SUFFIXES)}')
