"""A VisDrone folder to all that its files say, and to all that is wrong with them."""

from collections.abc import Sequence
from pathlib import Path

from mnssd_training.data.visdrone import VISDRONE_CLASSES
from mnssd_training.inspection.findings import Finding
from mnssd_training.inspection.reading import image_files, read_numbers, read_text, strays
from mnssd_training.inspection.records import Entry, RawBox, Scan

COLUMNS = 8  # left, top, width, height, score, category, truncation, occlusion
IGNORED, OTHERS = 0, 11  # categories that are no classes
YEARS = (2019, 2018)


def visdrone_splits(root: Path) -> list[str]:
    """List the splits of a VisDrone folder: the folders in it that hold annotations."""
    names = sorted(path.parent.name for path in root.glob('*/annotations'))
    short = [name.rpartition('-DET-')[2] for name in names]
    return [name for name in ('train', 'val', 'test') if name in short] or short


def scan_visdrone(root: Path, splits: Sequence[str]) -> Scan:
    """
    Read everything in a VisDrone-DET folder.

    :param root: folder with a folder for each split, each with ``images`` and ``annotations``.
    :param splits: names or paths of these, such as ``train`` for ``VisDrone2019-DET-train``.
    :return: what was read.
    """
    findings: list[Finding] = []
    entries: list[Entry] = []
    for split in splits:
        folder = _folder(root, split)
        images = image_files(folder / 'images')
        if not images:
            words = 'expected a folder with images and annotations'
            findings.append(Finding('list unreadable', str(folder), '', words))
        annotations = sorted((folder / 'annotations').glob('*.txt'))
        own = [_scan_file(folder, image, split, findings) for image in images]
        findings += strays(own, images, annotations)
        entries += own
    return Scan(VISDRONE_CLASSES, tuple(entries), tuple(findings))


def _folder(root: Path, split: str) -> Path:
    """Find the folder of a split."""
    places = [root / split, *(root / f'VisDrone{year}-DET-{split}' for year in YEARS)]
    return next((place for place in places if (place / 'images').is_dir()), places[0])


def _scan_file(folder: Path, image: Path, split: str, findings: list[Finding]) -> Entry:
    """Read the annotation of one image as far as it can be read."""
    path = folder / 'annotations' / f'{image.stem}.txt'
    boxes: list[RawBox] = []
    if not path.exists():
        findings.append(Finding('annotation missing', str(path), '', 'no such file'))
    else:
        text = read_text(path, 'annotation unreadable', findings) or ''
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                boxes += _scan_line(path, line, f'line {number}', findings)
    return Entry(image.stem, split, image, path, None, tuple(boxes))


def _scan_line(path: Path, line: str, where: str, findings: list[Finding]) -> list[RawBox]:
    """Read one line: one box, or none."""
    fields = line.strip().rstrip(',').split(',')
    if len(fields) != COLUMNS:
        words = f'expected {COLUMNS} numbers with commas between, got {len(fields)} fields'
        findings.append(Finding('bad value', str(path), where, words))
        return []
    numbers = read_numbers(fields, path, where, findings)
    if numbers is None:
        return []
    x, y, width, height, score, category = numbers[:6]
    edges = (x, y, x + width, y + height)
    if category in (IGNORED, OTHERS):
        return [RawBox(where, '', edges, is_ignore=True)]
    if category not in range(OTHERS):
        words = f'expected a category of 0 to {OTHERS}, got {category:g}'
        findings.append(Finding('unknown class', str(path), where, words))
        return [RawBox(where, '', edges)]
    return [RawBox(where, VISDRONE_CLASSES[int(category) - 1], edges, score == 0)]
