"""
VisDrone text annotations to samples.

Zhu et al., Detection and Tracking Meet Drones Challenge, TPAMI 2021. A line is ``left, top, width,
height, score, category, truncation, occlusion``. Category 0 (ignored regions) and 11 (others)
become ignore regions of any class; an object of score 0 is not counted by the challenge and
becomes an ignore region of its class.
"""

import math
from pathlib import Path

from mnssd_training.config.data import SourceConfig
from mnssd_training.data.reading import (
    AnnotationBuilder,
    DatasetSplit,
    header_size,
    IMAGE_SUFFIXES,
    MAX_ANNOTATION,
    read_text,
    SkipLog,
)
from mnssd_training.data.sample import ANY_CLASS, Sample
from mnssd_training.errors import DatasetError

VISDRONE_CLASSES = (
    'pedestrian', 'people', 'bicycle', 'car', 'van', 'truck', 'tricycle', 'awning-tricycle', 'bus',
    'motor',
)  # fmt: skip
IGNORED, OTHERS = 0, 11
COLUMNS = 8


def read_visdrone_source(source: SourceConfig, split: str) -> DatasetSplit:
    """
    Read one split of a dataset of VisDrone-DET layout.

    Boxes without area, of which the challenge has a few, are skipped and counted, or refused with
    ``strict_labels``. All else that is wrong is an error.

    :param source: the dataset.
    :param split: a folder with ``images`` and ``annotations``, as a path or by its name, such as
        ``train`` for ``VisDrone2019-DET-train``.
    :return: what the split holds.
    :raises DatasetError: naming the file that is missing or wrong.
    """
    root = Path(source.root).expanduser()
    folder = _folder(root, split)
    images = _files(folder / 'images', IMAGE_SUFFIXES)
    annotations = _files(folder / 'annotations', ('.txt',))
    for names, others, what in (
        (images, annotations, 'annotation'),
        (annotations, images, 'image'),
    ):
        alone = sorted(names.keys() - others.keys())
        if alone:
            raise DatasetError(
                names[alone[0]], f'has no {what}; {len(alone)} of {len(names)} have none'
            )
    tally = SkipLog(source.strict_labels)
    samples = []
    for name, image in sorted(images.items()):
        height, width = header_size(image)
        regions = AnnotationBuilder(width, height)
        _read_annotation(annotations[name], regions, tally)
        samples.append(Sample(name, image, (height, width), *regions.arrays()))
    return DatasetSplit(VISDRONE_CLASSES, samples, notes=tally.notes())


def _folder(root: Path, split: str) -> Path:
    """Find the folder of a split."""
    places = [
        root / split,
        *(root / f'VisDrone{year}-DET-{split}' for year in (2019, 2018)),
        Path(split).expanduser(),
    ]
    for place in places:
        try:
            if (place / 'images').is_dir() and (place / 'annotations').is_dir():
                return place
        except (OSError, ValueError):  # a name that no folder can have
            continue
    raise DatasetError(
        root,
        f'no folder with images and annotations for the split {split!r}; looked for '
        f'{", ".join(str(place) for place in places)}',
    )


def _files(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """List the files of a folder by their stems."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes:
            if path.stem in files:
                raise DatasetError(path, f'there is also {files[path.stem].name}')
            files[path.stem] = path
    if not files:
        raise DatasetError(folder, f'there is no file with a suffix of {", ".join(suffixes)}')
    return files


def _read_annotation(path: Path, regions: AnnotationBuilder, tally: SkipLog) -> None:
    """Read the objects of one annotation."""
    for number, line in enumerate(read_text(path, MAX_ANNOTATION).splitlines(), 1):
        if not line.strip():
            continue
        left, top, wide, high, score, category = _values(path, number, line)
        if wide < 0 or high < 0:
            raise DatasetError(
                path, f'line {number}: expected a width and height from 0 on, got {line.strip()!r}'
            )
        box = regions.clip((left, top, left + wide, top + high))
        if box is None:
            tally.skip(
                'boxes without area',
                f'{path.name}:{number}',
                f'nothing of {line.strip()!r} is inside the image',
            )
        elif category in (IGNORED, OTHERS):
            regions.add(box, ANY_CLASS)
        else:
            regions.add(box, category - 1, ignore=score == 0)


def _values(path: Path, number: int, line: str) -> tuple[float, float, float, float, float, int]:
    """Read the numbers of a line."""
    fields = line.strip().rstrip(',').split(',')
    try:
        values = [float(field) for field in fields]
    except ValueError:
        values = []
    if len(values) != COLUMNS or not all(math.isfinite(value) for value in values):
        raise DatasetError(
            path,
            f'line {number}: expected {COLUMNS} numbers with commas between, '
            f'got {line.strip()[:80]!r}',
        )
    category = values[5]
    if category not in range(OTHERS + 1):
        raise DatasetError(
            path, f'line {number}: expected a category of 0 to {OTHERS}, got {category:g}'
        )
    left, top, wide, high, score = values[:5]
    return left, top, wide, high, score, int(category)
