"""A PASCAL VOC folder to all that its files say, and to all that is wrong with them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree

from mnssd_training.data.reading import IMAGE_SUFFIXES, read_xml
from mnssd_training.data.voc import find_image
from mnssd_training.errors import DatasetError
from mnssd_training.inspection.findings import Finding
from mnssd_training.inspection.reading import (
    attempt,
    find_list,
    image_files,
    read_class_list,
    read_list,
    read_numbers,
    strays,
)
from mnssd_training.inspection.records import Entry, RawBox, Scan

LISTS = Path('ImageSets/Main')
EDGES = ('xmin', 'ymin', 'xmax', 'ymax')


def voc_splits(root: Path) -> list[str]:
    """List the splits of a PASCAL VOC folder, without lists that join others."""
    names = sorted(path.stem for path in (root / LISTS).glob('*.txt'))
    return [name for name in ('train', 'val', 'test') if name in names] or names


def scan_voc(root: Path, splits: Sequence[str], use_difficult: bool = False) -> Scan:
    """
    Read everything in a PASCAL VOC folder.

    :param root: folder with ``Annotations``, ``JPEGImages`` and ``ImageSets/Main``.
    :param splits: names or paths of the lists.
    :param use_difficult: take objects marked difficult for objects, not for ignore regions.
    :return: what was read; the class names are those of ``classes.txt`` if there is one.
    """
    findings: list[Finding] = []
    classes: tuple[str, ...] = ()
    if (root / 'classes.txt').exists():
        classes = read_class_list(root / 'classes.txt', findings)
    images = image_files(root / 'JPEGImages')
    entries = []
    for split in splits:
        for line in read_list(find_list(root, split, LISTS), findings):
            name = line.split()[0]
            image = _image(root / 'JPEGImages', name)
            entries.append(_scan_file(root, name, split, image, use_difficult, findings))
    annotations = sorted((root / 'Annotations').rglob('*.xml'))
    findings += strays(entries, images, annotations, _listed(root))
    return Scan(classes, tuple(entries), tuple(findings))


def _image(folder: Path, name: str) -> Path:
    """Find an image as the reader does; one that is missing has the first suffix."""
    try:
        return find_image(folder, name)
    except DatasetError:
        return folder / f'{name}{IMAGE_SUFFIXES[0]}'


def _listed(root: Path) -> Iterable[str]:
    """Name what any list of the folder names."""
    for path in (root / LISTS).glob('*.txt'):
        for line in read_list(path, []):
            yield line.split()[0]


def _scan_file(
    root: Path,
    name: str,
    split: str,
    image: Path,
    use_difficult: bool,
    findings: list[Finding],
) -> Entry:
    """Read one annotation as far as it can be read."""
    path = root / 'Annotations' / f'{name}.xml'
    nothing = Entry(name, split, image, path, None, ())
    if not path.exists():
        findings.append(Finding('annotation missing', str(path), '', 'no such file'))
        return nothing
    tree = attempt(lambda: read_xml(path), path, 'annotation unreadable', findings)
    if tree is None:
        return nothing
    boxes = [
        _scan_object(path, element, f'object {index}', use_difficult, findings)
        for index, element in enumerate(tree.iter('object'))
    ]
    size = _scan_size(path, tree, findings)
    return Entry(name, split, image, path, size, tuple(box for box in boxes if box))


def _scan_size(
    path: Path, tree: ElementTree.Element, findings: list[Finding]
) -> tuple[int, int] | None:
    """Read the size of the image."""
    sides = read_numbers(
        (tree.findtext(f'size/{side}') for side in ('height', 'width')), path, 'size', findings
    )
    if sides is None:
        return None
    if not all(side.is_integer() and side >= 1 for side in sides):
        words = f'expected whole sides of at least 1 pixel, got {sides[1]:g} x {sides[0]:g}'
        findings.append(Finding('bad value', str(path), 'size', words))
        return None
    return int(sides[0]), int(sides[1])


def _scan_object(
    path: Path,
    element: ElementTree.Element,
    where: str,
    use_difficult: bool,
    findings: list[Finding],
) -> RawBox | None:
    """Read one object."""
    name = (element.findtext('name') or '').strip()
    if not name:
        findings.append(Finding('bad value', str(path), where, 'it has no name'))
        return None
    difficult = (element.findtext('difficult') or '0').strip()
    if difficult not in ('0', '1'):
        words = f'expected difficult 0 or 1, got {difficult!r}'
        findings.append(Finding('bad value', str(path), where, words))
    edges = read_numbers(
        (element.findtext(f'bndbox/{edge}') for edge in EDGES), path, where, findings
    )
    if edges is None:
        return None
    hides = difficult == '1' and not use_difficult
    return RawBox(where, name, (edges[0], edges[1], edges[2], edges[3]), hides)
