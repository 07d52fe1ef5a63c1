"""
COCO JSON annotations to samples.

Lin et al., Microsoft COCO, 2014; the format of detection challenges: ``images``, ``annotations``
with boxes as [x, y, width, height] in pixels, ``categories``. Ids need not be consecutive. Crowds
become ignore regions of their class.
"""

from collections.abc import Callable, Sequence
import json
from pathlib import Path
from typing import Any, NoReturn

from mnssd_perception.ssd.spec import MAX_IMAGE_SIDE
from mnssd_training.config.data import SourceConfig
from mnssd_training.data.reading import (
    AnnotationBuilder,
    DatasetSplit,
    DirectoryIndex,
    read_text,
    SkipLog,
)
from mnssd_training.data.sample import Sample
from mnssd_training.errors import DatasetError

Record = dict[str, Any]
NUMBERS = frozenset({int, float})
FAR = 1e9  # pixels; beyond any image
MAX_JSON = 2 << 30  # bytes of an annotation file; COCO's largest has 0.5 GB


def read_coco_source(source: SourceConfig, split: str) -> DatasetSplit:
    """
    Read one split of a dataset of COCO layout.

    Boxes are cut at the edges of the image. A box without area, of which COCO 2017 has two,
    is skipped and counted, or refused with ``strict_labels``; one with a negative side or wholly
    outside is an error. Images without objects are kept. No image is opened.

    :param source: the dataset.
    :param split: see :func:`find_json`.
    :return: what the split holds.
    :raises DatasetError: naming the file and the annotation, image or category that is wrong.
    """
    root = Path(source.root).expanduser()
    path = find_json(root, split)
    plain = _read_json(path)
    categories = _categories(path, plain)
    images = _images(path, plain)
    labels = {number: label for label, number in enumerate(categories)}
    regions = {
        number: AnnotationBuilder(image['width'], image['height'])
        for number, image in images.items()
    }
    tally = SkipLog(source.strict_labels)
    _read_annotations(path, plain, labels, regions, tally)
    paths = _find_images(root, path, split, images)
    names = _names(images)
    samples = [
        Sample(
            names[number],
            paths[number],
            (image['height'], image['width']),
            *regions[number].arrays(),
        )
        for number, image in images.items()
    ]
    return DatasetSplit(tuple(categories.values()), samples, ids=categories, notes=tally.notes())


def find_json(root: Path, split: str) -> Path:
    """
    Find the annotation file of a split.

    :param root: of the dataset.
    :param split: a JSON file, as a path or as ``train`` for ``instances_train.json``,
        ``instances_train2017.json`` or ``train.json`` in ``annotations``, ``train.json``, or
        ``train/_annotations.coco.json``.
    :return: its path; there is such a file.
    :raises DatasetError: if there is none.
    """
    names = (f'instances_{split}.json', f'instances_{split}2017.json', f'{split}.json')
    places = [
        *(root / 'annotations' / name for name in names),
        root / f'{split}.json',
        root / split / '_annotations.coco.json',
    ]
    if split.endswith('.json'):
        places = [root / split, Path(split).expanduser()]
    for place in places:
        try:
            if place.is_file():
                return place
        except (OSError, ValueError):  # a name that no file can have
            continue
    raise DatasetError(
        places[0], 'no such file; set data.train_split and data.val_split to names or paths'
    )


def _read_json(path: Path) -> Record:
    """Read a JSON object."""
    try:
        plain = json.loads(read_text(path, MAX_JSON), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DatasetError(path, f'not JSON: {error}') from error
    except MemoryError as error:
        raise DatasetError(path, 'larger than the memory; split it') from error
    if not isinstance(plain, dict):
        raise DatasetError(path, f'expected a JSON object, got {type(plain).__name__}')
    return plain


def _no_constant(text: str) -> NoReturn:
    """Refuse NaN and infinities, which JSON does not have."""
    raise ValueError(f'{text} is not a number')


def _records(path: Path, plain: Record, key: str, check: Callable[[Record, str], None]) -> None:
    """Check each record of a list."""
    records = plain.get(key)
    if not isinstance(records, list):
        raise DatasetError(path, f'{key}: expected a list, got {_short(records)}')
    kind = {'annotations': 'annotation', 'images': 'image', 'categories': 'category'}[key]
    seen: set[int] = set()
    for place, record in enumerate(records):
        if not isinstance(record, dict):
            raise DatasetError(path, f'{key}[{place}]: expected an object, got {_short(record)}')
        number = record.get('id')
        if type(number) is not int:
            raise DatasetError(
                path, f'{key}[{place}]: id: expected a whole number, got {_short(number)}'
            )
        where = f'{kind} {number}'
        if number in seen:
            raise DatasetError(path, f'{where} is there more than once; give each its own id')
        seen.add(number)
        check(record, where)


def _categories(path: Path, plain: Record) -> dict[int, str]:
    """Read the class names by their ids, in the order of the ids."""
    names: dict[int, str] = {}

    def check(record: Record, where: str) -> None:
        name = record.get('name')
        if not isinstance(name, str) or not name.strip():
            raise DatasetError(path, f'{where}: name: expected a text, got {_short(name)}')
        if name.strip() in names.values():
            raise DatasetError(path, f'{where}: {name!r} is there more than once')
        names[record['id']] = name.strip()

    _records(path, plain, 'categories', check)
    if not names:
        raise DatasetError(path, 'categories: expected at least one')
    return dict(sorted(names.items()))


def _images(path: Path, plain: Record) -> dict[int, Record]:
    """Read the images by their ids."""
    images: dict[int, Record] = {}
    names: set[str] = set()

    def check(record: Record, where: str) -> None:
        name = record.get('file_name')
        if not isinstance(name, str) or not name.strip():
            raise DatasetError(path, f'{where}: file_name: expected a text, got {_short(name)}')
        if name in names:
            raise DatasetError(path, f'{where}: {name} is the file of another image too')
        for side in ('width', 'height'):
            value = record.get(side)
            if type(value) is not int or not 1 <= value <= MAX_IMAGE_SIDE:
                raise DatasetError(
                    path,
                    f'{where}: {side}: expected a whole number of 1 to {MAX_IMAGE_SIDE}, '
                    f'got {_short(value)}',
                )
        names.add(name)
        images[record['id']] = record

    _records(path, plain, 'images', check)
    if not images:
        raise DatasetError(path, 'images: expected at least one')
    return images


def _read_annotations(
    path: Path,
    plain: Record,
    labels: dict[int, int],
    regions: dict[int, AnnotationBuilder],
    tally: SkipLog,
) -> None:
    """Read the objects of all images."""

    def check(record: Record, where: str) -> None:
        for key, known, what in (
            ('image_id', regions, 'image'),
            ('category_id', labels, 'category'),
        ):
            if type(record.get(key)) is not int or record[key] not in known:
                raise DatasetError(
                    path,
                    f'{where}: there is no {what} {_short(record.get(key))}; '
                    f'correct its {key} or take it out',
                )
        _check_flags(path, record, where)
        left, top, wide, high = _box(path, record, where)
        inside = regions[record['image_id']]
        box = inside.clip((left, top, left + wide, top + high))
        if box is not None:
            ignore = bool(record.get('iscrowd', 0) or record.get('ignore', 0))
            inside.add(box, labels[record['category_id']], ignore)
        elif inside.touches((left, top, left + wide, top + high)):
            tally.skip('boxes without area', path, f'{where}: bbox {record["bbox"]} has no area')
        else:
            raise DatasetError(
                path,
                f'{where}: bbox {record["bbox"]} is outside of its image; correct it or take the '
                f'annotation out',
            )

    _records(path, plain, 'annotations', check)


def _check_flags(path: Path, record: Record, where: str) -> None:
    """Refuse flags that are none."""
    for key in ('iscrowd', 'ignore'):
        if record.get(key, 0) not in (0, 1):
            raise DatasetError(path, f'{where}: {key}: expected 0 or 1, got {_short(record[key])}')


def _box(path: Path, record: Record, where: str) -> list[float]:
    """Read the box of an annotation."""
    box = record.get('bbox')
    if type(box) is not list or len(box) != 4 or not NUMBERS.issuperset(map(type, box)):
        raise DatasetError(
            path, f'{where}: bbox: expected [x, y, width, height], got {_short(box)}'
        )
    left, top, wide, high = box
    if not (-FAR < left < FAR and -FAR < top < FAR and 0 <= wide < FAR and 0 <= high < FAR):
        raise DatasetError(
            path,
            f'{where}: bbox: expected pixels, with a width and height from 0 on, '
            f'got {_short(box)}; correct it or take the annotation out',
        )
    return box


def image_folders(root: Path, path: Path, split: str) -> list[Path]:
    """
    List the folders that the images of a split may be in, the likeliest first.

    :param root: of the dataset.
    :param path: the annotation file.
    :param split: its name, or the path that was given.
    """
    split = Path(split).stem.removeprefix('instances_')
    near = (split, f'{split}2017', f'images/{split}', f'images/{split}2017', 'images', '.')
    return list(dict.fromkeys([*(root / name for name in near), path.parent]))


def find_image(places: Sequence[Path], name: str, folders: DirectoryIndex) -> Path | None:
    """
    Find the file of an image.

    :param places: see :func:`image_folders`.
    :param name: its ``file_name``.
    :param folders: what is on the disk.
    :return: the first that is there, or None.
    """
    return next((place / name for place in places if folders.has(place / name)), None)


def _find_images(root: Path, path: Path, split: str, images: dict[int, Record]) -> dict[int, Path]:
    """Find the files of all images."""
    places, folders = image_folders(root, path, split), DirectoryIndex()
    found, missing = {}, []
    for number, image in images.items():
        there = find_image(places, image['file_name'], folders)
        if there is None:
            missing.append(f'image {number}: {image["file_name"]}')
        else:
            found[number] = there
    if missing:
        raise DatasetError(
            path,
            f'{len(missing)} of {len(images)} files are missing, such as {missing[0]}; looked in '
            f'{", ".join(map(str, places))}',
        )
    return found


def _names(images: dict[int, Record]) -> dict[int, str]:
    """Name images by their files, without suffix unless that makes two the same."""
    short = {
        number: Path(image['file_name']).with_suffix('').as_posix()
        for number, image in images.items()
    }
    if len(set(short.values())) == len(short):
        return short
    return {number: image['file_name'] for number, image in images.items()}


def _short(value: object) -> str:
    """Show a value in one short line."""
    text = repr(value) if value is not None else 'nothing'
    return text if len(text) <= 60 else f'{text[:57]}...'
