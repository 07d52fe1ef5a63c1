"""
Parse PASCAL VOC annotations.

Everingham et al., The PASCAL Visual Object Classes Challenge. Coordinates are taken as continuous
edges, as they are written; objects marked difficult become ignore regions of their class, and
names such as DontCare ignore regions of every class.
"""

from contextlib import suppress
import math
from pathlib import Path
from xml.etree import ElementTree

from mnssd_perception.image_file import IMAGE_SUFFIXES
from mnssd_perception.ssd.spec import MAX_IMAGE_SIDE
from mnssd_training.data.annotations import BoxRecord, ImageRecord, ParsedSplit, read_class_list
from mnssd_training.data.problems import Problem, Report, report_to, try_read
from mnssd_training.data.text_files import DirectoryIndex, read_text, read_xml

LISTS = Path('ImageSets', 'Main')


def list_voc_splits(root: Path) -> list[str]:
    """List the splits of a PASCAL VOC folder: the usual ones, or all lists."""
    names = sorted(path.stem for path in (root / LISTS).glob('*.txt'))
    return [name for name in ('train', 'val', 'test') if name in names] or names


def parse_voc(root: Path, split: str, use_difficult: bool = False) -> ParsedSplit:
    """
    Parse one split of a PASCAL VOC folder.

    :param root: with ``Annotations``, ``JPEGImages``, ``ImageSets/Main``, perhaps ``classes.txt``.
    :param split: a list in ``ImageSets/Main``, by name or as a path; a flag after a name, as in
        the lists of one class, is not read.
    :param use_difficult: make objects of those marked difficult, not ignore regions.
    """
    path = root / LISTS / f'{split}.txt'
    if split.endswith('.txt'):
        path = root / split if (root / split).is_file() else Path(split).expanduser()
    problems: list[Problem] = []
    names = read_names(path, problems)
    folders = DirectoryIndex()
    records = [_parse_image(root, name, use_difficult, folders, problems) for name in names]
    class_names: tuple[str, ...] = ()
    if (root / 'classes.txt').exists():
        class_names = read_class_list(root / 'classes.txt', problems)
    return ParsedSplit(path, records, problems, class_names)


def read_names(path: Path, problems: list[Problem]) -> list[str]:
    """Read the list of a split, each name once."""
    report = report_to(problems, path)
    text = try_read('list unreadable', problems, read_text, path)
    lines: dict[str, int] = {}
    for number, line in enumerate((text or '').splitlines(), 1):
        name = line.split()[0] if line.strip() else ''
        if name in lines:
            message = f'{name!r} is listed on line {lines[name]} too'
            report('listed twice', f'line {number}', message)
        elif name:
            lines[name] = number
    if text is not None and not lines:
        report('list unreadable', '', 'expected a name a line, got an empty list')
    return list(lines)


def _parse_image(
    root: Path, name: str, use_difficult: bool, folders: DirectoryIndex, problems: list[Problem]
) -> ImageRecord:
    path = root / 'Annotations' / f'{name}.xml'
    image = _find_image(root / 'JPEGImages', name, folders, problems)
    kind = 'annotation unreadable' if folders.has(path) else 'annotation missing'
    tree = try_read(kind, problems, read_xml, path)
    if tree is None:
        return ImageRecord(name, image, path, None, ())
    report = report_to(problems, path)
    size = _parse_size(tree, report)
    boxes = [
        _parse_object(element, f'object {index}', use_difficult, report)
        for index, element in enumerate(tree.iter('object'))
    ]
    return ImageRecord(name, image, path, size, tuple(box for box in boxes if box))


def _find_image(folder: Path, name: str, folders: DirectoryIndex, problems: list[Problem]) -> Path:
    for suffix in IMAGE_SUFFIXES:
        for candidate in (folder / f'{name}{suffix}', folder / f'{name}{suffix.upper()}'):
            if folders.has(candidate):
                return candidate
    image = folder / f'{name}{IMAGE_SUFFIXES[0]}'
    message = f'no image with a suffix of {", ".join(IMAGE_SUFFIXES)}'
    problems.append(Problem('image missing', image, '', message))
    return image


def _parse_size(tree: ElementTree.Element, report: Report) -> tuple[int, int] | None:
    height, width = (_parse_number(tree, f'size/{s}', '', report) for s in ('height', 'width'))
    if height is None or width is None:
        return None
    if not all(side.is_integer() and 1 <= side <= MAX_IMAGE_SIDE for side in (height, width)):
        message = f'expected sides of 1 to {MAX_IMAGE_SIDE} whole pixels, got {width} x {height}'
        report('bad value', 'size', message)
        return None
    return int(height), int(width)


def _parse_object(
    element: ElementTree.Element, location: str, use_difficult: bool, report: Report
) -> BoxRecord | None:
    name = (element.findtext('name') or '').strip()
    if not name:
        report('bad value', location, 'expected a name, got nothing')
        return None
    difficult = (element.findtext('difficult') or '0').strip()
    if difficult not in ('0', '1'):
        report('bad value', location, f'expected difficult 0 or 1, got {difficult!r}')
    x1, y1, x2, y2 = (
        _parse_number(element, f'bndbox/{edge}', location, report)
        for edge in ('xmin', 'ymin', 'xmax', 'ymax')
    )
    if x1 is None or y1 is None or x2 is None or y2 is None:
        return None
    return BoxRecord(location, name, (x1, y1, x2, y2), difficult == '1' and not use_difficult)


def _parse_number(
    element: ElementTree.Element, tag: str, location: str, report: Report
) -> float | None:
    """Parse the finite number in a tag; None with a problem if there is none."""
    text = element.findtext(tag)
    kind = 'bad value'
    with suppress(ValueError):
        if math.isfinite(value := float(text or '')):
            return value
        kind = 'not finite'
    shown = 'nothing' if text is None else repr(text.strip()[:60])
    report(kind, location, f'{tag}: expected a number, got {shown}')
    return None
