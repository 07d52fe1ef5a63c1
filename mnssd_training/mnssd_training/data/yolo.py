"""
Parse YOLO text labels.

A dataset is a folder with ``images/``, ``labels/``, ``classes.txt`` and lists of image paths in
``splits/``, or one with the ``data.yaml`` of Ultralytics. Lists may hold paths of another
computer: one that does not exist is looked up by the end of its path. Labels count from 0 here as
in the files; the 1 that makes room for the background is added where targets are made
(:func:`mnssd_perception.ssd.encode_targets`).

An image with an empty label file or none shows no object, as in Ultralytics. A label file with
lines of which none is valid tells nothing, and its image is not trained on.
"""

from collections.abc import Collection, Mapping, Sequence
import math
import os
from pathlib import Path
import re

from mnssd_training.config.yaml_tree import Node, read_yaml
from mnssd_training.data.annotations import (
    BoxRecord,
    Edges,
    ImageRecord,
    ParsedSplit,
    read_class_list,
)
from mnssd_training.data.problems import Problem, report_to, try_read
from mnssd_training.data.text_files import (
    choose_unique_names,
    DirectoryIndex,
    list_image_files,
    MAX_ANNOTATION,
    read_text,
)
from mnssd_training.errors import ConfigError, DatasetError

LISTS = Path('splits')
ROUNDING = 0.01  # of the image, that a corner of a polygon may be outside
MAX_YAML = 256 << 10  # bytes; the 1 203 names of LVIS take 30 000
MAX_CHARS = 60  # of a line that a message shows

# What a split may be called in ``data.yaml`` and as a folder.
SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    'val': ('val', 'valid', 'validation'),
    'valid': ('valid', 'val', 'validation'),
}


def list_yolo_splits(root: Path) -> list[str]:
    """List the splits of a YOLO folder: its lists, ``data.yaml``, or the folders of its images."""
    names = sorted(path.stem for path in (root / LISTS).glob('*.txt'))
    if not names:
        try:
            keys = _read_yaml(root / 'data.yaml')
        except DatasetError:
            keys = {}
        names = _usual_splits([key for key, node in keys.items() if node.value is not None])
    names = names or sorted(path.name for path in (root / 'images').glob('*') if path.is_dir())
    return _usual_splits(names) or names


def _usual_splits(names: Collection[str]) -> list[str]:
    """Return those of ``train``, ``val`` and ``test`` that exist, by any of their names."""
    return [
        split
        for split in ('train', 'val', 'test')
        if any(name in names for name in SPLIT_NAMES.get(split, (split,)))
    ]


def parse_yolo(root: Path, split: str, class_names: Sequence[str] = ()) -> ParsedSplit:
    """
    Parse one split of a YOLO folder; image sizes are not read.

    Polygons become the boxes around them; of pose labels only the boxes are read.

    :param split: its name, or the path of a list of image paths or of a folder of images. A name
        is looked up as a list in ``splits/``, a key of ``data.yaml``, a list in the root, and a
        folder in ``images/`` or in the root, in this order. ``val`` is also ``valid``.
    :param class_names: the classes, for a dataset that does not list its own.
    """
    problems: list[Problem] = []
    yaml, class_list = root / 'data.yaml', root / 'classes.txt'
    if class_list.exists():
        class_names = read_class_list(class_list, problems)
    elif yaml.exists():
        class_names = try_read('class list wrong', problems, _read_yaml_names, yaml) or ()
    elif not class_names:
        message = 'no such file; write class names in it, or set data.classes'
        problems.append(Problem('class list wrong', class_list, '', message))
    num_columns = try_read('annotation unreadable', problems, _count_keypoint_columns, root) or 0
    folders = DirectoryIndex()
    lists = try_read('list unreadable', problems, _find_split, root, split) or []
    images = _list_images(root, lists, folders, problems)
    from_root = [path.relative_to(root) if path.is_relative_to(root) else path for path in images]
    names = choose_unique_names(
        [path.stem for path in images],
        [path.with_suffix('').as_posix() for path in from_root],
        [path.as_posix() for path in from_root],
    )
    records = [
        _parse_image(root, name, image, class_names, num_columns, folders, problems)
        for name, image in zip(names, images)
    ]
    file = lists[0] if lists else root
    return ParsedSplit(file, records, problems, tuple(class_names), dict(enumerate(class_names)))


# --- data.yaml, the file that Ultralytics keeps beside a dataset ---------------------------------


def _read_yaml(path: Path) -> Mapping[str, Node]:
    try:
        keys = read_yaml(read_text(path, MAX_YAML), path.name).value
    except ConfigError as error:
        raise DatasetError(path, f'not YAML that can be read: {error}') from error
    return keys if isinstance(keys, Mapping) else {}


def _read_yaml_names(path: Path) -> tuple[str, ...]:
    """Read ``names``: a list, or a dict numbered from 0."""
    node = _read_yaml(path).get('names')
    values = node.value if node is not None else ()
    if isinstance(values, Mapping):
        numbers = [str(number) for number in range(len(values))]
        is_numbered = set(numbers) == values.keys()
        values = tuple(values[number] for number in numbers) if is_numbered else ()
    names = tuple(map(_text, values)) if isinstance(values, tuple) else ()
    if not names or '' in names or len(set(names)) != len(names):
        raise DatasetError(path, 'names: expected class names that differ, numbered from 0')
    return names


def _text(node: Node) -> str:
    """Read a text as it is written, also where it looks like a number; empty for a list."""
    text = node.value if node.text is None else node.text
    return text.strip() if isinstance(text, str) else ''


# --- images --------------------------------------------------------------------------------------


def _find_split(root: Path, split: str) -> list[Path]:
    """Find the lists and folders that name the images of a split."""
    names = SPLIT_NAMES.get(split, (split,))
    lists = [root / LISTS / f'{name}.txt' for name in names]
    elsewhere = [
        *(root / f'{name}.txt' for name in names),
        *(root / 'images' / name for name in names),
        *(root / name for name in names),
        Path(split).expanduser(),
    ]
    paths = (
        list(filter(os.path.exists, lists))[:1]
        or _find_split_in_yaml(root / 'data.yaml', split)
        or list(filter(os.path.exists, elsewhere))[:1]
    )
    if not paths:
        raise DatasetError(lists[0], f'no such file, nor a folder images/{split}')
    return paths


def _find_split_in_yaml(path: Path, split: str) -> list[Path]:
    """Find the lists and folders that ``data.yaml`` names for a split; none if it has no key."""
    if not path.exists():
        return []
    keys = _read_yaml(path)
    key = next((name for name in SPLIT_NAMES.get(split, (split,)) if name in keys), '')
    node = keys.get(key)
    if node is None or node.value is None:
        return []
    base = _text(keys['path']) if 'path' in keys else ''
    paths = []
    for value in map(_text, node.value if isinstance(node.value, tuple) else (node,)):
        # Exports of Roboflow say ../train/images where they mean train/images.
        texts = [value, value.removeprefix('../')] if value else []
        bases = (path.parent / base, path.parent)
        candidates = (folder / text for folder in bases for text in texts)
        existing = next(filter(os.path.exists, candidates), None)
        if existing is None:
            reason = f'{key}: expected a folder or a list of images, got {value[:200]!r}'
            raise DatasetError(path, reason)
        paths.append(existing)
    return paths


def _list_images(
    root: Path, lists: Sequence[Path], folders: DirectoryIndex, problems: list[Problem]
) -> list[Path]:
    """List the images of a split, each once; report missing ones and keep their likely path."""
    images: dict[Path, str] = {}
    for path in lists:
        report = report_to(problems, path)
        if path.is_dir():
            folder = path / 'images' if (path / 'images').is_dir() else path
            entries = [('', image) for image in list_image_files(folder)]
            expected = 'an image in this folder'
        else:
            text = try_read('list unreadable', problems, read_text, path)
            if text is None:
                continue
            entries = [
                (f'line {number}', _find_image(root, path.parent, line, folders))
                for number, line in enumerate(map(str.strip, text.splitlines()), 1)
                if line
            ]
            expected = 'an image path a line'
        if not entries:
            report('list unreadable', '', f'expected {expected}, got none')
        for location, image in entries:
            if image in images:
                message = f'{image.name} is the image of {images[image]} too'
                report('listed twice', location, message)
            elif not folders.has(image):
                message = f'{image.name}: neither at its path nor in {root / "images"}'
                report('image missing', location, message)
            images.setdefault(image, location or str(path))
    return list(images)


def _find_image(root: Path, folder: Path, line: str, folders: DirectoryIndex) -> Path:
    """Find an image of a list by its path, or by an end of its path, the longest first."""
    parts = re.split(r'[/\\]', line)
    ends = ('/'.join(parts[start:]) for start in range(1, len(parts)))
    bases = (root, folder, root / 'images')
    candidates = (base / end for end in (line, *ends) for base in bases)
    return next(filter(folders.has, candidates), root / 'images' / parts[-1])


# --- labels --------------------------------------------------------------------------------------


def _parse_image(
    root: Path,
    name: str,
    image: Path,
    class_names: Sequence[str],
    num_keypoint_columns: int,
    folders: DirectoryIndex,
    problems: list[Problem],
) -> ImageRecord:
    candidates = _label_candidates(root, image)
    path = next(filter(folders.has, candidates), None)
    boxes: list[BoxRecord] = []
    if path is None:
        path = candidates[0]
        message = f'no such file, nor {", ".join(map(str, candidates[1:]))}'
        problems.append(Problem('label file missing', path, '', message))
    else:
        report = report_to(problems, path)
        text = try_read('annotation unreadable', problems, read_text, path, MAX_ANNOTATION)
        for number, line in enumerate((text or '').splitlines(), 1):
            if not line.strip():
                continue
            location = f'line {number}'
            try:
                label, edges = _parse_label(line, num_keypoint_columns)
            except ValueError as error:
                kind, message = error.args
                report(kind, location, message)
                continue
            class_name = class_names[label] if label in range(len(class_names)) else ''
            if not class_name:
                message = f'class id {label} is not one of 0 to {len(class_names) - 1}'
                report('unknown class', location, message)
            boxes.append(BoxRecord(location, class_name, edges))
    return ImageRecord(name, image, path, None, tuple(boxes), is_normalized=True)


def _label_candidates(root: Path, image: Path) -> list[Path]:
    """List where a label file may be: in ``labels``, in its mirror of ``images``, or beside."""
    paths = [root / 'labels' / f'{image.stem}.txt']
    parts = list(image.parts)
    if 'images' in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index('images')
        paths.append(Path(*parts[:last], 'labels', *parts[last + 1 :]).with_suffix('.txt'))
    return list(dict.fromkeys([*paths, image.with_suffix('.txt')]))


def _count_keypoint_columns(root: Path) -> int:
    """Count the columns of keypoints after the box, by ``kpt_shape`` in ``data.yaml``."""
    path = root / 'data.yaml'
    node = _read_yaml(path).get('kpt_shape') if path.exists() else None
    if node is None or node.value is None:
        return 0
    match [part.value for part in node.value] if isinstance(node.value, tuple) else None:
        case [int(num), int(columns)] if num > 0 and columns in (2, 3):
            return num * columns
    raise DatasetError(path, 'kpt_shape: expected [number of keypoints, 2 or 3]')


def _parse_label(line: str, num_keypoint_columns: int) -> tuple[int, Edges]:
    """
    Parse a line of a label file into a class id and xyxy as fractions of the image.

    :param line: ``class x y width height``, with a confidence or without, or with keypoints, which
        are not read; or without those ``class x1 y1 x2 y2 x3 y3 ...``, the corners of a polygon.
    :raises ValueError: with kind and message of the problem.
    """
    fields, shown = line.split(), repr(line.strip()[:MAX_CHARS])
    alternative = 'the corners of a polygon'
    if num_keypoint_columns:
        alternative = f'a box and {num_keypoint_columns} columns of keypoints '
        alternative += '(kpt_shape in data.yaml)'
    expected = f'expected class, x, y, width and height, or {alternative}, got {shown}'
    is_box = len(fields) in (5, 6, 5 + num_keypoint_columns)  # 6: with a confidence
    is_polygon = not (is_box or num_keypoint_columns) and len(fields) % 2 == 1 and len(fields) > 5
    if not (is_box or is_polygon):
        raise ValueError('bad value', expected)
    try:
        label, *values = map(float, fields if is_polygon else fields[:5])
    except ValueError:
        raise ValueError('bad value', expected) from None
    if not all(map(math.isfinite, (label, *values))):
        raise ValueError('not finite', expected)
    if not label.is_integer():
        raise ValueError('bad value', expected)
    if is_polygon:
        if min(values) < -ROUNDING or max(values) > 1 + ROUNDING:
            message = 'expected the corners of a polygon as parts of the image, 0 to 1, got '
            message += f'{shown}; if these are keypoints, write their kpt_shape in data.yaml'
            raise ValueError('bad value', message)
        xs, ys = values[::2], values[1::2]
        return int(label), (min(xs), min(ys), max(xs), max(ys))
    x, y, width, height = values
    return int(label), (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
