"""
Parse VisDrone text annotations.

Zhu et al., Detection and Tracking Meet Drones Challenge, TPAMI 2021. A line is ``left, top, width,
height, score, category, truncation, occlusion``. Category 0 (ignored regions) and 11 (others)
become ignore regions of every class; an object of score 0 is not counted by the challenge and
becomes an ignore region of its class.
"""

import math
import os
from pathlib import Path

from mnssd_perception.image_file import IMAGE_SUFFIXES
from mnssd_training.data.annotations import BoxRecord, ImageRecord, ParsedSplit
from mnssd_training.data.problems import Problem, Report, report_to, try_read
from mnssd_training.data.text_files import MAX_ANNOTATION, read_text

VISDRONE_CLASSES = (
    'pedestrian', 'people', 'bicycle', 'car', 'van', 'truck', 'tricycle', 'awning-tricycle', 'bus',
    'motor',
)  # fmt: skip
IGNORED, OTHERS = 0, 11
COLUMNS = 8


def list_visdrone_splits(root: Path) -> list[str]:
    """List the splits of a VisDrone folder: the folders in it that hold annotations."""
    names = sorted(path.parent.name for path in root.glob('*/annotations'))
    short = [name.rpartition('-DET-')[2] for name in names]
    return [name for name in ('train', 'val', 'test') if name in short] or short


def parse_visdrone(root: Path, split: str) -> ParsedSplit:
    """
    Parse one split of a VisDrone-DET folder; image sizes are not read.

    :param split: a folder with ``images`` and ``annotations``, as a path or by its name, such as
        ``train`` for ``VisDrone2019-DET-train``. Each image in it has an annotation.
    """
    problems: list[Problem] = []
    candidates = [
        root / split,
        *(root / f'VisDrone{year}-DET-{split}' for year in (2019, 2018)),
        Path(split).expanduser(),
    ]
    for folder in candidates:
        if all(map(os.path.isdir, (folder / 'images', folder / 'annotations'))):
            break
    else:
        message = f'no folder with images and annotations for the split {split!r}; looked for '
        message += ', '.join(map(str, candidates))
        problems.append(Problem('list unreadable', root, '', message))
        return ParsedSplit(root, problems=problems, class_names=VISDRONE_CLASSES)
    images = _list_files(folder / 'images', IMAGE_SUFFIXES, problems)
    annotations = _list_files(folder / 'annotations', ('.txt',), problems)
    if not images:
        message = f'no file with a suffix of {", ".join(IMAGE_SUFFIXES)}'
        problems.append(Problem('list unreadable', folder / 'images', '', message))
    for name in sorted(annotations.keys() - images.keys()):
        image = folder / 'images' / f'{name}{IMAGE_SUFFIXES[0]}'
        message = f'no image for the annotation {annotations[name].name}'
        problems.append(Problem('image missing', image, '', message))
    records = []
    for name, image in sorted(images.items()):
        path = annotations.get(name, folder / 'annotations' / f'{name}.txt')
        boxes: list[BoxRecord] = []
        if name in annotations:
            text = try_read('annotation unreadable', problems, read_text, path, MAX_ANNOTATION)
            report = report_to(problems, path)
            for number, line in enumerate((text or '').splitlines(), 1):
                box = _parse_line(line.strip(), f'line {number}', report) if line.strip() else None
                boxes += [box] if box else []
        else:
            problems.append(Problem('annotation missing', path, '', 'no such file'))
        records.append(ImageRecord(name, image, path, None, tuple(boxes)))
    return ParsedSplit(folder, records, problems, VISDRONE_CLASSES)


def _list_files(
    folder: Path, suffixes: tuple[str, ...], problems: list[Problem]
) -> dict[str, Path]:
    """List the files of a folder by their stems."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes:
            continue
        if path.stem in files:
            message = f'there is also {files[path.stem].name}'
            problems.append(Problem('listed twice', path, '', message))
        else:
            files[path.stem] = path
    return files


def _parse_line(line: str, location: str, report: Report) -> BoxRecord | None:
    fields = line.rstrip(',').split(',')  # some files end lines with a comma
    try:
        values = [float(field) for field in fields]
    except ValueError:
        values = []
    if len(values) != COLUMNS or not all(map(math.isfinite, values)):
        kind = 'not finite' if len(values) == COLUMNS else 'bad value'
        message = f'expected {COLUMNS} numbers with commas between, got {line[:80]!r}'
        report(kind, location, message)
        return None
    left, top, width, height, score, category = values[:6]
    edges = (left, top, left + width, top + height)
    if category in (IGNORED, OTHERS):
        return BoxRecord(location, '', edges, is_ignored=True)
    if category not in range(OTHERS):
        message = f'expected a category of 0 to {OTHERS}, got {category:g}'
        report('unknown class', location, message)
        return BoxRecord(location, '', edges)
    return BoxRecord(location, VISDRONE_CLASSES[int(category) - 1], edges, score == 0)
