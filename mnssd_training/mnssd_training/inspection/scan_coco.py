"""A COCO folder to all that its files say, and to all that is wrong with them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
import json
from pathlib import Path
from typing import Any

from mnssd_training.data.coco import find_image, find_json, image_folders, MAX_JSON
from mnssd_training.data.reading import DirectoryIndex
from mnssd_training.errors import DatasetError
from mnssd_training.inspection.findings import Finding
from mnssd_training.inspection.reading import attempt, image_files, read_numbers, read_text
from mnssd_training.inspection.records import Entry, RawBox, Scan

LISTS = ('images', 'annotations', 'categories')
SPLITS = ('train', 'val', 'valid', 'test')


def coco_splits(root: Path) -> list[str]:
    """List the splits of a COCO folder: those of usual names, or those in ``annotations``."""
    found = (root / 'annotations').glob('instances_*.json')
    names = sorted(path.stem.removeprefix('instances_') for path in found)
    return [name for name in SPLITS if _is_there(root, name)] or names


def _is_there(root: Path, split: str) -> bool:
    """Tell whether training finds a split."""
    try:
        find_json(root, split)
    except DatasetError:
        return False
    return True


def scan_coco(root: Path, splits: Sequence[str]) -> Scan:
    """
    Read everything in a COCO folder.

    :param root: of the dataset.
    :param splits: see :func:`mnssd_training.data.coco.find_json`.
    :return: what was read; the class names are those of the categories by rising id.
    """
    findings: list[Finding] = []
    entries: list[Entry] = []
    categories: dict[int, str] = {}
    folders = DirectoryIndex()
    read: set[Path] = set()
    for split in splits:
        path = attempt(partial(find_json, root, split), root, 'list unreadable', findings)
        if path is None:
            continue
        read.add(path)
        content = _read_json(path, findings)
        own = _categories(path, content['categories'], findings)
        for key, name in own.items():
            if categories.setdefault(key, name) != name:
                words = f'{name!r} has the id of {categories[key]!r} in another split'
                findings.append(Finding('class list wrong', str(path), f'category {key}', words))
        boxes = _boxes(path, content, own, findings)
        places = image_folders(root, path, split)
        entries += _images(path, split, content['images'], boxes, places, folders, findings)
    known = {entry.image for entry in entries}
    if read >= {find_json(root, split) for split in coco_splits(root)}:
        words = 'no annotation file names it'
        findings += [
            Finding('image without annotation', str(path), '', words)
            for path in image_files(root)
            if path not in known
        ]
    classes = tuple(categories[key] for key in sorted(categories))
    return Scan(classes, tuple(entries), tuple(findings))


def _read_json(path: Path, findings: list[Finding]) -> dict[str, list[Any]]:
    """Read the three lists of an annotation file; what is no list is empty."""
    content: Any = {}
    text = read_text(path, 'annotation unreadable', findings, MAX_JSON)
    if text is not None:
        try:
            content = json.loads(text)
        except (ValueError, RecursionError, MemoryError) as error:
            findings.append(Finding('annotation unreadable', str(path), '', f'not JSON: {error}'))
            text = None
    lists = {}
    for key in LISTS:
        value = content.get(key) if isinstance(content, dict) else None
        if not isinstance(value, list) and text is not None:
            words = f'{key!r} is no list'
            findings.append(Finding('annotation unreadable', str(path), '', words))
        lists[key] = value if isinstance(value, list) else []
    return lists


def _id(item: Any) -> int | None:
    """Give the id of an image, an annotation or a category, if it has one."""
    key = item.get('id') if isinstance(item, dict) else None
    return key if isinstance(key, int) and not isinstance(key, bool) else None


def _take_id(
    path: Path, what: str, index: int, item: Any, seen: set[int], findings: list[Finding]
) -> int | None:
    """Give an id that is there and new, or say what is wrong."""
    key = _id(item)
    if key is None:
        words = 'expected an object with a whole number as id'
        findings.append(Finding('bad value', str(path), f'{what} number {index}', words))
    elif key in seen:
        words = 'an earlier one has this id'
        findings.append(Finding('id twice', str(path), f'{what} {key}', words))
    else:
        seen.add(key)
        return key
    return None


def _categories(path: Path, items: list[Any], findings: list[Finding]) -> dict[int, str]:
    """Read the categories."""
    names: dict[int, str] = {}
    seen: set[int] = set()
    for index, item in enumerate(items):
        key = _take_id(path, 'category', index, item, seen, findings)
        if key is None:
            continue
        name = item.get('name')
        if not isinstance(name, str) or not name.strip():
            words = f'expected a name, got {name!r}'
            findings.append(Finding('class list wrong', str(path), f'category {key}', words))
        elif name.strip() in names.values():
            words = f'{name!r} has another id too'
            findings.append(Finding('class list wrong', str(path), f'category {key}', words))
        else:
            names[key] = name.strip()
    return names


def _boxes(
    path: Path, content: Mapping[str, list[Any]], names: dict[int, str], findings: list[Finding]
) -> dict[int, list[RawBox]]:
    """Read the annotations, by image id."""
    boxes: dict[int, list[RawBox]] = {}
    images = {_id(item) for item in content['images']}
    seen: set[int] = set()
    for index, item in enumerate(content['annotations']):
        key = _take_id(path, 'annotation', index, item, seen, findings)
        if key is None:
            continue
        where, image = f'annotation {key}', item.get('image_id')
        if not isinstance(image, int) or image not in images:
            words = f'there is no image of id {image!r}'
            findings.append(Finding('annotation without image', str(path), where, words))
            continue
        category = item.get('category_id')
        name = names.get(category, '') if isinstance(category, int) else ''
        if not name:
            words = f'there is no category of id {category!r}'
            findings.append(Finding('unknown class', str(path), where, words))
        bbox = item.get('bbox')
        if not isinstance(bbox, list) or len(bbox) != 4:
            words = f'expected bbox [x, y, width, height], got {str(bbox)[:60]}'
            findings.append(Finding('bad value', str(path), where, words))
            continue
        numbers = read_numbers(bbox, path, where, findings)
        if numbers is not None:
            x, y, width, height = numbers
            edges = (x, y, x + width, y + height)
            hides = bool(item.get('iscrowd') or item.get('ignore'))
            boxes.setdefault(image, []).append(RawBox(where, name, edges, hides))
    return boxes


def _images(
    path: Path,
    split: str,
    items: list[Any],
    boxes: dict[int, list[RawBox]],
    places: Sequence[Path],
    folders: DirectoryIndex,
    findings: list[Finding],
) -> list[Entry]:
    """Read the images, each with its boxes."""
    entries, seen, names = [], set[int](), dict[str, int]()
    for index, item in enumerate(items):
        key = _take_id(path, 'image', index, item, seen, findings)
        if key is None:
            continue
        where, name = f'image {key}', item.get('file_name')
        if not isinstance(name, str) or not name.strip():
            words = f'expected a file_name, got {name!r}'
            findings.append(Finding('bad value', str(path), where, words))
            continue
        if name in names:
            words = f'{name!r} is image {names[name]} too'
            findings.append(Finding('listed twice', str(path), where, words))
            continue
        names[name] = key
        sides = read_numbers((item.get('height'), item.get('width')), path, where, findings)
        size = None
        if sides is not None and all(side.is_integer() and side >= 1 for side in sides):
            size = int(sides[0]), int(sides[1])
        elif sides is not None:
            words = f'expected whole sides of at least 1 pixel, got {sides[1]:g} x {sides[0]:g}'
            findings.append(Finding('bad value', str(path), where, words))
        image = find_image(places, name, folders) or places[0] / name
        own = (
            replace(box, where=f'{box.where} of {Path(name).name}') for box in boxes.get(key, ())
        )
        entries.append(Entry(Path(name).stem, split, image, path, size, tuple(own)))
    return entries
