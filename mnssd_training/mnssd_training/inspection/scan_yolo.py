"""A YOLO folder to all that its files say, and to all that is wrong with them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mnssd_training.inspection.findings import Finding
from mnssd_training.inspection.reading import (
    find_list,
    image_files,
    read_class_list,
    read_list,
    read_numbers,
    read_text,
    strays,
)
from mnssd_training.inspection.records import Entry, RawBox, Scan
import yaml

__all__ = ['scan_yolo', 'yolo_splits']

LISTS = Path('splits')
FIELDS = (5, 6)  # class, centre x, centre y, width, height; then perhaps a confidence


def yolo_splits(root: Path) -> list[str]:
    """List the splits of a YOLO folder: its lists, or the folders of its images."""
    names = sorted(path.stem for path in (root / LISTS).glob('*.txt'))
    names = names or sorted(path.name for path in (root / 'images').glob('*') if path.is_dir())
    return [name for name in ('train', 'val', 'test') if name in names] or names


def scan_yolo(root: Path, splits: Sequence[str], class_names: Sequence[str] = ()) -> Scan:
    """
    Read everything in a YOLO folder.

    :param root: folder with ``images``, ``labels``, ``classes.txt`` and ``splits``.
    :param splits: names or paths of the lists, or of folders of images.
    :param class_names: in the order of the ids, for a data set that does not list its own.
    :return: what was read.
    """
    findings: list[Finding] = []
    classes = _classes(root, class_names, findings)
    entries = []
    for split in splits:
        for image in _images(root, split, findings):
            entries.append(_scan_file(root, image, split, classes, findings))
    labels = sorted((root / 'labels').rglob('*.txt'))
    findings += strays(entries, image_files(root / 'images'), labels, _listed(root))
    return Scan(classes, tuple(entries), tuple(findings))


def _classes(root: Path, class_names: Sequence[str], findings: list[Finding]) -> tuple[str, ...]:
    """Read the class list, or that of the file that Ultralytics keeps beside a data set."""
    if not (root / 'classes.txt').exists() and (root / 'data.yaml').exists():
        try:
            names = yaml.safe_load((root / 'data.yaml').read_text()).get('names')
        except (AttributeError, OSError, ValueError, yaml.YAMLError) as error:
            words = ' '.join(str(error).split())
            findings.append(Finding('class list wrong', str(root / 'data.yaml'), '', words))
            return ()
        return tuple(str(name) for name in (names.values() if isinstance(names, dict) else names))
    if not (root / 'classes.txt').exists() and class_names:
        return tuple(class_names)
    return read_class_list(root / 'classes.txt', findings)


def _images(root: Path, split: str, findings: list[Finding]) -> list[Path]:
    """List the images of a split: those of its list, or of its folder."""
    for folder in (root / 'images' / split, root / split / 'images', root / split):
        if folder.is_dir():
            return image_files(folder)
    path = find_list(root, split, LISTS)
    if not path.exists() and (root / path.name).exists():
        path = root / path.name
    return [_find_image(root, line) for line in read_list(path, findings)]


def _find_image(root: Path, line: str) -> Path:
    """Find an image where the list says, or by its file name in ``images``."""
    place = root / line  # an absolute path stays what it is
    try:
        return place if place.exists() else root / 'images' / Path(line.replace('\\', '/')).name
    except (OSError, ValueError):  # a line that no file can be called
        return place


def _listed(root: Path) -> Iterable[str]:
    """Name what any list of the folder names."""
    for path in (root / LISTS).glob('*.txt'):
        for line in read_list(path, []):
            yield Path(line.replace('\\', '/')).stem


def _label_path(root: Path, image: Path) -> Path:
    """Find the labels of an image: in ``labels``, or where that mirrors ``images``."""
    flat = root / 'labels' / f'{image.stem}.txt'
    if flat.exists() or 'images' not in image.parts[:-1]:
        return flat
    parts = list(image.parts)
    last = len(parts) - 1 - parts[::-1].index('images')
    beside = Path(*parts[:last], 'labels', *parts[last + 1 :]).with_suffix('.txt')
    return beside if beside.exists() else flat


def _scan_file(
    root: Path, image: Path, split: str, classes: Sequence[str], findings: list[Finding]
) -> Entry:
    """Read the labels of one image as far as they can be read."""
    path = _label_path(root, image)
    boxes: list[RawBox] = []
    if not path.exists():
        findings.append(Finding('label file missing', str(path), '', 'no such file'))
    else:
        text = read_text(path, 'annotation unreadable', findings) or ''
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                boxes += _scan_line(path, line, f'line {number}', classes, findings)
    return Entry(image.stem, split, image, path, None, tuple(boxes), is_fraction=True)


def _scan_line(
    path: Path, line: str, where: str, classes: Sequence[str], findings: list[Finding]
) -> list[RawBox]:
    """Read one line: one box, or none."""
    fields = line.split()
    if len(fields) not in FIELDS:
        words = f'expected class, centre x, centre y, width, height; got {len(fields)} fields'
        findings.append(Finding('bad value', str(path), where, words))
        return []
    numbers = read_numbers(fields[:5], path, where, findings)
    if numbers is None:
        return []
    label, x, y, width, height = numbers
    if not label.is_integer() or label < 0:
        words = f'expected a class id from 0, got {fields[0]!r}'
        findings.append(Finding('bad value', str(path), where, words))
        return []
    if label >= len(classes):
        words = f'id {int(label)}; classes.txt has {len(classes)} names'
        findings.append(Finding('unknown class', str(path), where, words))
    name = classes[int(label)] if label < len(classes) else ''
    edges = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return [RawBox(where, name, edges)]
