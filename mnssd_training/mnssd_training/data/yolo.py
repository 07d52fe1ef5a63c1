"""
YOLO text labels to samples.

A data set is a folder with ``images/``, ``labels/``, ``classes.txt`` and lists of image paths in
``splits/``. Lists may hold paths of another computer: one that is not there is looked up by its
file name in ``images/``. Labels count from 0 here as in the files; the 1 that makes room for the
background is added where targets are made (:func:`mnssd_perception.ssd.targets`).
"""

from collections.abc import Sequence
import math
from pathlib import Path
import re

from mnssd_training.config.data import SourceConfig
from mnssd_training.data.reading import (
    Folders,
    header_size,
    IMAGE_SUFFIXES,
    read_classes,
    read_text,
    Reading,
    Regions,
    Tally,
    unique_names,
)
from mnssd_training.data.sample import Sample
from mnssd_training.errors import DatasetError
import yaml

__all__ = ['read_yolo_source']

COLUMNS = (5, 6)  # class, centre x, centre y, width, height; then perhaps a confidence
SHOWN = 3  # missing files that an error names


def read_yolo_source(
    source: SourceConfig, split: str, training: bool, known: Sequence[str] = ()
) -> Reading:
    """
    Read one split of a data set of YOLO layout.

    Lines that are no label, class ids beyond the class list and boxes of which nothing is inside
    the photograph are skipped and counted, or refused with ``strict_labels``. Boxes are cut at
    the edges of the photograph.

    :param source: the data set.
    :param split: a list of image paths, as a path or by its name in ``splits/``; or a folder of
        images, as a path or by its name in ``images/``.
    :param training: leave out photographs without a valid label.
    :param known: the classes, for a data set that does not list its own.
    :return: what the split holds.
    :raises DatasetError: naming the file that is missing or wrong.
    """
    root = Path(source.root).expanduser()
    classes = _classes(root, known)
    folders = Folders()
    listed, images = _images(root, split, folders)
    tally = Tally(source.strict_labels)
    samples, empty = [], []
    for name, image in zip(unique_names(images, root), images):
        height, width = header_size(image)
        regions = Regions(width, height)
        label = _label_path(root, image, folders)
        if label is not None:
            _read_label(label, root, (height, width), len(classes), regions, tally)
        if training and not len(regions):
            empty.append(name)
        else:
            samples.append(Sample(name, image, (height, width), *regions.arrays()))
    if not samples:
        raise DatasetError(listed, 'expected a photograph with a valid label, got none')
    notes = list(tally.notes())
    if empty:
        notes.append(
            f'left out {len(empty)} photographs without a valid label from training: '
            + ', '.join(empty[:SHOWN])
        )
    ids = dict(enumerate(classes))
    return Reading(classes, samples, ids=ids, notes=tuple(notes))


def _classes(root: Path, known: Sequence[str]) -> tuple[str, ...]:
    """Find the class list of a data set."""
    if (root / 'classes.txt').exists():
        return read_classes(root)
    if (root / 'data.yaml').exists():
        return _yaml_classes(root / 'data.yaml')
    if known:
        return tuple(known)
    raise DatasetError(
        root / 'classes.txt', 'no such file; write class names in it, or set data.classes'
    )


def _yaml_classes(path: Path) -> tuple[str, ...]:
    """Read ``names`` of the file that Ultralytics keeps beside a data set."""
    try:
        plain = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DatasetError(path, f'not YAML: {" ".join(str(error).split())}') from error
    names = plain.get('names') if isinstance(plain, dict) else None
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or len(set(map(str, names))) != len(names):
        raise DatasetError(path, 'names: expected class names that differ, numbered from 0')
    return tuple(str(name).strip() for name in names)


def _images(root: Path, split: str, folders: Folders) -> tuple[Path, list[Path]]:
    """Find the photographs of a split, and the file or folder that lists them."""
    listed = _first(
        root / 'splits' / f'{split}.txt',
        root / f'{split}.txt',
        root / 'images' / split,
        root / split,
        Path(split).expanduser(),
    )
    if listed is None:
        raise DatasetError(
            root / 'splits' / f'{split}.txt',
            f'no such file, nor a folder images/{split}; set data.train_split and data.val_split '
            f'to a list of image paths',
        )
    if listed.is_dir():
        inside = listed / 'images' if (listed / 'images').is_dir() else listed
        images = sorted(p for p in inside.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not images:
            raise DatasetError(inside, 'there is no image in this folder')
        return listed, images
    return listed, _listed_images(root, listed, folders)


def _first(*paths: Path) -> Path | None:
    """Find the first path that is there."""
    for path in paths:
        try:
            if path.exists():
                return path
        except (OSError, ValueError):  # a name that no file can have
            continue
    return None


def _listed_images(root: Path, listed: Path, folders: Folders) -> list[Path]:
    """Find the photographs of a list."""
    entries = [line.strip() for line in read_text(listed).splitlines()]
    numbered = [(number, entry) for number, entry in enumerate(entries, 1) if entry]
    if not numbered:
        raise DatasetError(listed, 'expected an image path a line, got an empty list')
    images: dict[Path, int] = {}
    missing = []
    for number, entry in numbered:
        image = _find_image(root, entry, folders)
        if image is None:
            missing.append(f'line {number}: {entry}')
        elif image in images:
            raise DatasetError(
                listed, f'line {number}: {entry} is the photograph of line {images[image]}'
            )
        else:
            images[image] = number
    if missing:
        raise DatasetError(
            listed,
            f'{len(missing)} of {len(numbered)} photographs are neither at their path nor in '
            f'{root / "images"}: {"; ".join(missing[:SHOWN])}; put them there, or take them out '
            f'of the list',
        )
    return list(images)


def _find_image(root: Path, entry: str, folders: Folders) -> Path | None:
    """Find a photograph at its path, from the root if that is relative, or by its file name."""
    there = root / entry
    if folders.has(there):
        return there
    by_name = root / 'images' / re.split(r'[/\\]', entry)[-1]
    return by_name if folders.has(by_name) else None


def _label_path(root: Path, image: Path, folders: Folders) -> Path | None:
    """Find the label file of a photograph."""
    flat = root / 'labels' / f'{image.stem}.txt'
    if folders.has(flat):
        return flat
    parts = list(image.parts)
    if 'images' in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index('images')
        beside = Path(*parts[:last], 'labels', *parts[last + 1 :]).with_suffix('.txt')
        return beside if folders.has(beside) else None
    return None


def _read_label(
    path: Path,
    root: Path,
    size: tuple[int, int],
    num_classes: int,
    regions: Regions,
    tally: Tally,
) -> None:
    """Read the objects of one label file."""
    short = path.relative_to(root) if path.is_relative_to(root) else path
    for number, line in enumerate(read_text(path).splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        where = f'{short}:{number}'
        values = _values(fields)
        if values is None:
            tally.skip(
                'lines that are no label',
                where,
                f'expected class, x, y, width and height, got {line.strip()[:60]!r}',
            )
            continue
        label, x, y, wide, high = values
        if label not in range(num_classes):
            tally.skip(
                'objects of unknown classes',
                where,
                f'class id {label:g} is not one of 0 to {num_classes - 1}',
            )
            continue
        edges = (x - wide / 2, y - high / 2, x + wide / 2, y + high / 2)
        box = regions.clip([edge * side for edge, side in zip(edges, (*size[::-1], *size[::-1]))])
        if box is None or wide <= 0 or high <= 0:
            tally.skip(
                'boxes without area', where, f'nothing of {" ".join(fields[1:5])} is inside'
            )
            continue
        regions.add(box, int(label))


def _values(fields: Sequence[str]) -> tuple[float, ...] | None:
    """Read the numbers of a line, or None if it is no label."""
    if len(fields) not in COLUMNS:
        return None
    try:
        values = tuple(float(field) for field in fields[:5])
    except ValueError:
        return None
    good = all(math.isfinite(value) for value in values) and values[0].is_integer()
    return values if good else None
