"""
Parse COCO JSON annotations.

Lin et al., Microsoft COCO, 2014; the format of detection challenges: ``images``, ``annotations``
with boxes as [x, y, width, height] in pixels, ``categories``. Ids need not be consecutive. Crowds
become ignore regions of their class.
"""

from collections.abc import Iterator, Mapping
import json
import math
import os
from pathlib import Path
from typing import Any

from mnssd_perception.ssd.spec import MAX_IMAGE_SIDE
from mnssd_training.data.annotations import BoxRecord, Edges, ImageRecord, ParsedSplit
from mnssd_training.data.problems import Problem, Report, report_to, try_read
from mnssd_training.data.text_files import choose_unique_names, DirectoryIndex, read_text
from mnssd_training.errors import DatasetError

Record = dict[str, Any]
NUMBERS = frozenset({int, float})
FAR = 1e9  # pixels; beyond any image
MAX_JSON = 2 << 30  # bytes of an annotation file; COCO's largest has 0.5 GB
ITEMS = {'annotations': 'annotation', 'images': 'image', 'categories': 'category'}


def list_coco_splits(root: Path) -> list[str]:
    """List the splits of a COCO folder: those of usual names, or those in ``annotations``."""
    files = (root / 'annotations').glob('instances_*.json')
    names = sorted(path.stem.removeprefix('instances_') for path in files)
    usual = ('train', 'val', 'valid', 'test')
    return [name for name in usual if find_annotation_file(root, name)] or names


def parse_coco(root: Path, split: str) -> ParsedSplit:
    """
    Parse one split of a COCO folder. No image is opened.

    :param split: a JSON file, as a path or as ``train`` for ``instances_train.json``,
        ``instances_train2017.json`` or ``train.json`` in ``annotations``, ``train.json``, or
        ``train/_annotations.coco.json``.
    """
    problems: list[Problem] = []
    path = find_annotation_file(root, split)
    if path is None:
        path = _json_candidates(root, split)[0]
        problems.append(Problem('list unreadable', path, '', 'no such file'))
        return ParsedSplit(path, problems=problems)
    report = report_to(problems, path)
    content = try_read('annotation unreadable', problems, _read_json, path, report)
    if content is None:
        return ParsedSplit(path, problems=problems)
    categories = _parse_categories(content, report)
    images, image_ids = _parse_images(content, report)
    boxes = _parse_annotations(content, categories, images, image_ids, report)
    files = _find_images(root, path, split, images, report)
    names = choose_unique_names(
        [Path(image['file_name']).with_suffix('').as_posix() for image in images.values()],
        [image['file_name'] for image in images.values()],
    )
    records = [
        ImageRecord(name, files[number], path, _parse_size(image), tuple(boxes[number]))
        for name, (number, image) in zip(names, images.items())
    ]
    return ParsedSplit(path, records, problems, tuple(categories.values()), categories)


def _json_candidates(root: Path, split: str) -> list[Path]:
    if split.endswith('.json'):
        return [root / split, Path(split).expanduser()]
    names = (f'instances_{split}.json', f'instances_{split}2017.json', f'{split}.json')
    return [
        *(root / 'annotations' / name for name in names),
        root / f'{split}.json',
        root / split / '_annotations.coco.json',
    ]


def find_annotation_file(root: Path, split: str) -> Path | None:
    """Find the annotation file of a split; see :func:`parse_coco`."""
    return next(filter(os.path.isfile, _json_candidates(root, split)), None)


def _read_json(path: Path, report: Report) -> Record:
    """Read a JSON object; NaN and infinities, which JSON does not have, are a problem."""
    constants: set[str] = set()

    def parse_constant(text: str) -> float:
        if text not in constants:
            report('not finite', '', f'not JSON: {text} is not a number')
        constants.add(text)
        return float(text)

    try:
        content = json.loads(read_text(path, MAX_JSON), parse_constant=parse_constant)
    except (ValueError, RecursionError) as error:
        raise DatasetError(path, f'not JSON: {error}') from error
    except MemoryError as error:
        raise DatasetError(path, 'larger than the memory; split it') from error
    if not isinstance(content, dict):
        raise DatasetError(path, f'expected a JSON object, got {type(content).__name__}')
    return content


def _iterate_records(
    content: Record, key: str, report: Report
) -> Iterator[tuple[int, Record, str]]:
    """Yield id, record and location of each record with a unique id."""
    records = content.get(key)
    if not isinstance(records, list):
        report('annotation unreadable', key, f'expected a list, got {_shorten(records)}')
        return
    ids: set[int] = set()
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            report('bad value', f'{key}[{index}]', f'expected an object, got {_shorten(record)}')
            continue
        number = record.get('id')
        if type(number) is not int:
            message = f'id: expected a whole number, got {_shorten(number)}'
            report('bad value', f'{key}[{index}]', message)
            continue
        location = f'{ITEMS[key]} {number}'
        if number in ids:
            report('id twice', location, 'an earlier one has this id')
            continue
        ids.add(number)
        yield number, record, location


def _parse_categories(content: Record, report: Report) -> dict[int, str]:
    """Parse the class names by their ids, in the order of the ids."""
    names: dict[int, str] = {}
    for number, record, location in _iterate_records(content, 'categories', report):
        name = record.get('name')
        if not isinstance(name, str) or not name.strip():
            report('class list wrong', location, f'name: expected a text, got {_shorten(name)}')
        elif name.strip() in names.values():
            report('class list wrong', location, f'name: {name!r} has another id too')
        else:
            names[number] = name.strip()
    if content.get('categories') == []:
        report('class list wrong', 'categories', 'expected at least one, got none')
    return dict(sorted(names.items()))


def _parse_images(content: Record, report: Report) -> tuple[dict[int, Record], set[int]]:
    """Return the usable images by their ids, and the ids of all."""
    images: dict[int, Record] = {}
    image_ids: set[int] = set()
    ids: dict[str, int] = {}
    for number, record, location in _iterate_records(content, 'images', report):
        image_ids.add(number)
        name = record.get('file_name')
        if not isinstance(name, str) or not name.strip():
            report('bad value', location, f'file_name: expected a text, got {_shorten(name)}')
            continue
        if name in ids:
            report('listed twice', location, f'{name} is the file of image {ids[name]} too')
            continue
        for side in ('width', 'height'):
            if not _is_side(record.get(side)):
                expected = f'{side}: expected a whole number of 1 to {MAX_IMAGE_SIDE}'
                report('bad value', location, f'{expected}, got {_shorten(record.get(side))}')
        ids[name] = number
        images[number] = record
    if content.get('images') == []:
        report('list unreadable', 'images', 'expected at least one, got none')
    return images, image_ids


def _is_side(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_IMAGE_SIDE


def _parse_size(image: Record) -> tuple[int, int] | None:
    if _is_side(image.get('height')) and _is_side(image.get('width')):
        return image['height'], image['width']
    return None


def _parse_annotations(
    content: Record,
    categories: Mapping[int, str],
    images: Mapping[int, Record],
    image_ids: set[int],
    report: Report,
) -> dict[int, list[BoxRecord]]:  # by image id
    boxes: dict[int, list[BoxRecord]] = {number: [] for number in images}
    for _, record, location in _iterate_records(content, 'annotations', report):
        image = record.get('image_id')
        if type(image) is not int or image not in image_ids:
            report('unknown image', location, f'there is no image {_shorten(image)}')
            continue
        category = record.get('category_id')
        name = categories.get(category, '') if type(category) is int else ''
        if not name:
            report('unknown class', location, f'there is no category {_shorten(category)}')
        for key in ('iscrowd', 'ignore'):
            if (flag := record.get(key, 0)) not in (0, 1):
                report('bad value', location, f'{key}: expected 0 or 1, got {_shorten(flag)}')
        edges = _parse_box(record.get('bbox'), location, report)
        if edges is not None and image in boxes:
            of_image = f'{location} of {images[image]["file_name"]}'
            is_ignored = bool(record.get('iscrowd', 0) or record.get('ignore', 0))
            boxes[image].append(BoxRecord(of_image, name, edges, is_ignored))
    return boxes


def _parse_box(box: Any, location: str, report: Report) -> Edges | None:
    kind = 'bad value'
    if type(box) is list and len(box) == 4 and NUMBERS.issuperset(map(type, box)):
        left, top, width, height = box
        if -FAR < left < FAR and -FAR < top < FAR and abs(width) < FAR and abs(height) < FAR:
            return left, top, left + width, top + height
        if any(isinstance(value, float) and not math.isfinite(value) for value in box):
            kind = 'not finite'
    report(kind, location, f'bbox: expected [x, y, width, height] in pixels, got {_shorten(box)}')
    return None


def _find_images(
    root: Path, path: Path, split: str, images: Mapping[int, Record], report: Report
) -> dict[int, Path]:
    """Find the files of all images; a missing one gets the likeliest path."""
    split = Path(split).stem.removeprefix('instances_')
    near = (split, f'{split}2017', f'images/{split}', f'images/{split}2017', 'images', '.')
    folders = list(dict.fromkeys([*(root / name for name in near), path.parent]))
    index = DirectoryIndex()
    files = {}
    for number, image in images.items():
        candidates = (folder / image['file_name'] for folder in folders)
        file = next(filter(index.has, candidates), None)
        files[number] = file or folders[0] / image['file_name']
        if file is None:
            searched = ', '.join(map(str, folders))
            message = f'{image["file_name"]}: no such file; looked in {searched}'
            report('image missing', f'image {number}', message)
    return files


def _shorten(value: object) -> str:
    text = repr(value) if value is not None else 'nothing'
    return text if len(text) <= 60 else f'{text[:57]}...'
