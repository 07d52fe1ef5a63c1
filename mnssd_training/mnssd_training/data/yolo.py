"""
YOLO text labels to samples.

A dataset is a folder with ``images/``, ``labels/``, ``classes.txt`` and lists of image paths in
``splits/``, or one with the ``data.yaml`` of Ultralytics. Lists may hold paths of another
computer: one that is not there is looked up by the end of its path. Labels count from 0 here as
in the files; the 1 that makes room for the background is added where targets are made
(:func:`mnssd_perception.ssd.encode_targets`).

An image with an empty label file or none shows no object, as Ultralytics has it. A label file
with lines of which none is valid tells nothing, and its image is not trained on.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
import math
from pathlib import Path
import re

from mnssd_training.config.data import SourceConfig
from mnssd_training.config.yaml_tree import Node, read_yaml
from mnssd_training.data.reading import (
    AnnotationBuilder,
    DatasetSplit,
    DirectoryIndex,
    header_size,
    IMAGE_SUFFIXES,
    MAX_ANNOTATION,
    read_classes,
    read_text,
    SkipLog,
    unique_names,
)
from mnssd_training.data.sample import Sample
from mnssd_training.errors import ConfigError, DatasetError

BOX_COLUMNS = (5, 6)  # class, centre x, centre y, width, height; then perhaps a confidence
ROUNDING = 0.01  # of the image, that a corner of a polygon may be outside
SHOWN = 3  # missing files that an error names
MAX_YAML = 256 << 10  # bytes; the 1 203 names of LVIS take 30 000

# What a split may be called in ``data.yaml`` and as a folder.
SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    'val': ('val', 'valid', 'validation'),
    'valid': ('valid', 'val', 'validation'),
}

Edges = tuple[float, float, float, float]


def read_yolo_source(
    source: SourceConfig, split: str, training: bool, known: Sequence[str] = ()
) -> DatasetSplit:
    """
    Read one split of a dataset of YOLO layout.

    Lines that are no label, class ids beyond the class list and boxes of which nothing is inside
    the image are skipped and counted, or refused with ``strict_labels``. Boxes are cut at the
    edges of the image. Polygons become the boxes around them; of pose labels the boxes are read.

    :param source: the dataset.
    :param split: see :func:`find_split`.
    :param training: leave out images of whose labels none is valid.
    :param known: the classes, for a dataset that does not list its own.
    :return: what the split holds.
    :raises DatasetError: naming the file that is missing or wrong.
    """
    root = Path(source.root).expanduser()
    classes = read_class_names(root, known)
    num_keypoint_columns = keypoint_columns(root)
    folders = DirectoryIndex()
    places = find_split(root, split)
    images = _existing(root, places, folders)
    tally = SkipLog(source.strict_labels)
    samples, invalid, unlabelled = [], [], []
    for name, image in zip(unique_names(images, root), images):
        height, width = header_size(image)
        regions = AnnotationBuilder(width, height)
        label, num_lines = find_label(root, image, folders), 0
        if label is None:
            unlabelled.append(image)
        else:
            num_lines = _read_label(
                label, root, (height, width), len(classes), num_keypoint_columns, regions, tally
            )
        if training and num_lines and not len(regions):
            invalid.append(name)
        else:
            samples.append(Sample(name, image, (height, width), *regions.arrays()))
    notes = list(tally.notes())
    if invalid:
        notes.append(
            f'left out {len(invalid)} images without a valid label from training: '
            + ', '.join(invalid[:SHOWN])
        )
    if training and unlabelled:
        looked_for = ', '.join(map(str, label_paths(root, unlabelled[0])))
        notes.append(
            f'{len(unlabelled)} of {len(images)} images have no label file, such as '
            f'{unlabelled[0].name}: looked for {looked_for}'
        )
    if training and not any(len(sample.boxes) for sample in samples):
        raise DatasetError(
            places[0],
            f'expected a valid label in at least one of {len(images)} images, got none'
            + ''.join(f'; {note}' for note in notes),
        )
    return DatasetSplit(classes, samples, ids=dict(enumerate(classes)), notes=tuple(notes))


# --- classes -------------------------------------------------------------------------------------


def read_class_names(root: Path, known: Sequence[str] = ()) -> tuple[str, ...]:
    """
    Read the class list of a dataset.

    :param root: folder with ``classes.txt`` or ``data.yaml``.
    :param known: the classes, for a dataset that does not list its own.
    :return: the names in the order of their ids.
    :raises DatasetError: if there are none, or the file is wrong.
    """
    if (root / 'classes.txt').exists():
        return read_classes(root)
    path = root / 'data.yaml'
    if path.exists():
        return _names(path, _read_yaml(path).get('names'))
    if known:
        return tuple(known)
    raise DatasetError(
        root / 'classes.txt', 'no such file; write class names in it, or set data.classes'
    )


def _read_yaml(path: Path) -> Mapping[str, Node]:
    """Read the keys of the file that Ultralytics keeps beside a dataset."""
    try:
        keys = read_yaml(read_text(path, MAX_YAML), path.name).value
    except ConfigError as error:
        raise DatasetError(path, f'not YAML that can be read: {error}') from error
    return keys if isinstance(keys, Mapping) else {}


def _names(path: Path, node: Node | None) -> tuple[str, ...]:
    """Read ``names``: a list, or a dict numbered from 0."""
    values: Sequence[Node] = ()
    if node is not None and isinstance(node.value, tuple):
        values = node.value
    elif node is not None and isinstance(node.value, Mapping):
        numbers = [str(number) for number in range(len(node.value))]
        if set(numbers) == node.value.keys():
            values = [node.value[number] for number in numbers]
    names = tuple(_text(value) for value in values)
    if not names or '' in names or len(set(names)) != len(names):
        raise DatasetError(path, 'names: expected class names that differ, numbered from 0')
    return names


def _text(node: Node) -> str:
    """Read a text as it is written, also where it looks like a number; empty for a list."""
    if node.text is not None:
        return node.text.strip()
    return node.value.strip() if isinstance(node.value, str) else ''


# --- images --------------------------------------------------------------------------------------


def find_split(root: Path, split: str) -> list[Path]:
    """
    Find what names the images of a split.

    In this order: its list in ``splits/``, its key in ``data.yaml``, its list in the root, its
    folder in ``images/`` or in the root, and a path. ``val`` is also ``valid``.

    :param root: of the dataset.
    :param split: its name, or the path of a list of image paths or of a folder of images.
    :return: lists and folders.
    :raises DatasetError: if there is none.
    """
    names = SPLIT_NAMES.get(split, (split,))
    lists = [root / 'splits' / f'{name}.txt' for name in names]
    if own := next(filter(_exists, lists), None):
        return [own]
    if places := _split_in_yaml(root / 'data.yaml', split):
        return places
    for place in (
        *(root / f'{name}.txt' for name in names),
        *(root / 'images' / name for name in names),
        *(root / name for name in names),
        Path(split).expanduser(),
    ):
        if _exists(place):
            return [place]
    raise DatasetError(
        lists[0],
        f'no such file, nor a folder images/{split}; set data.train_split and data.val_split '
        f'to a list of image paths',
    )


def splits_in_yaml(root: Path) -> list[str]:
    """
    List the splits that ``data.yaml`` names.

    :param root: of the dataset.
    :return: of ``train``, ``val`` and ``test``, those it has; none where it cannot be read.
    """
    try:
        keys = _read_yaml(root / 'data.yaml')
    except DatasetError:
        return []
    return usual_splits([key for key, node in keys.items() if node.value is not None])


def usual_splits(names: Collection[str]) -> list[str]:
    """
    Choose the splits of usual names.

    :param names: of lists, folders or keys.
    :return: of ``train``, ``val`` and ``test``, those that :func:`find_split` finds among them.
    """
    return [
        split
        for split in ('train', 'val', 'test')
        if any(name in names for name in SPLIT_NAMES.get(split, (split,)))
    ]


def list_images(root: Path, place: Path, folders: DirectoryIndex) -> list[tuple[str, Path]]:
    """
    List the images of a list or a folder.

    :param root: of the dataset.
    :param place: as :func:`find_split` gives it.
    :param folders: what is on the disk.
    :return: the line, if any, and the path of each; of one that is missing, where it should be.
    :raises DatasetError: if there is none, or the list cannot be read.
    """
    if place.is_dir():
        inside = place / 'images' if (place / 'images').is_dir() else place
        images = sorted(p for p in inside.rglob('*') if p.suffix.lower() in IMAGE_SUFFIXES)
        if not images:
            raise DatasetError(inside, 'there is no image in this folder')
        return [('', image) for image in images]
    lines = enumerate(map(str.strip, read_text(place).splitlines()), 1)
    entries = [
        (f'line {number}: {line}', _find_image(root, place.parent, line, folders))
        for number, line in lines
        if line
    ]
    if not entries:
        raise DatasetError(place, 'expected an image path a line, got an empty list')
    return entries


def _exists(path: Path) -> bool:
    """Tell whether a path is there; a name that no file can have is not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _split_in_yaml(path: Path, split: str) -> list[Path]:
    """Find the lists and folders that ``data.yaml`` names for a split; none if it has no key."""
    if not path.exists():
        return []
    keys = _read_yaml(path)
    key = next((name for name in SPLIT_NAMES.get(split, (split,)) if name in keys), '')
    node = keys.get(key)
    if node is None or node.value is None:
        return []
    values = node.value if isinstance(node.value, tuple) else (node,)
    base = _text(keys['path']) if 'path' in keys else ''
    found = []
    for value in map(_text, values):
        # Exports of Roboflow say ../train/images where they mean train/images.
        texts = [value, value.removeprefix('../')] if value else []
        bases = (path.parent / base, path.parent)
        candidates = (folder / text for folder in bases for text in texts)
        place = next(filter(_exists, candidates), None)
        if place is None:
            raise DatasetError(
                path, f'{key}: expected a folder or a list of images, got {value[:200]!r}'
            )
        found.append(place)
    return found


def _find_image(root: Path, folder: Path, line: str, folders: DirectoryIndex) -> Path:
    """
    Find an image of a list.

    At its path, from the root or from the folder of the list if that is relative; else at an end
    of its path, the longest first, in the root, in ``images`` or by its file name there.
    """
    parts = re.split(r'[/\\]', line)
    ends = ('/'.join(parts[start:]) for start in range(1, len(parts)))
    places: Iterator[Path] = (
        base / end for end in (line, *ends) for base in (root, folder, root / 'images')
    )
    return next((place for place in places if folders.has(place)), root / 'images' / parts[-1])


def _existing(root: Path, places: Sequence[Path], folders: DirectoryIndex) -> list[Path]:
    """List the images of a split; each is there, and once."""
    images: dict[Path, str] = {}
    missing = []
    for place in places:
        for where, image in list_images(root, place, folders):
            if not folders.has(image):
                missing.append(where)
            elif image in images:
                first = images[image].partition(':')[0]
                raise DatasetError(place, f'{where} is the image of {first}')
            else:
                images[image] = where
    if missing:
        raise DatasetError(
            places[0],
            f'{len(missing)} of {len(missing) + len(images)} images are neither at their '
            f'path nor in {root / "images"}: {"; ".join(missing[:SHOWN])}; put them there, or '
            f'take them out of the list',
        )
    return list(images)


# --- labels --------------------------------------------------------------------------------------


def label_paths(root: Path, image: Path) -> list[Path]:
    """
    List where the label file of an image may be.

    :param root: of the dataset.
    :param image: its path.
    :return: in ``labels``, where ``labels`` mirrors ``images``, and beside the image.
    """
    paths = [root / 'labels' / f'{image.stem}.txt']
    parts = list(image.parts)
    if 'images' in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index('images')
        paths.append(Path(*parts[:last], 'labels', *parts[last + 1 :]).with_suffix('.txt'))
    return list(dict.fromkeys([*paths, image.with_suffix('.txt')]))


def find_label(root: Path, image: Path, folders: DirectoryIndex) -> Path | None:
    """
    Find the label file of an image.

    :param root: of the dataset.
    :param image: its path.
    :param folders: what is on the disk.
    :return: the first of :func:`label_paths` that is there.
    """
    return next((path for path in label_paths(root, image) if folders.has(path)), None)


def keypoint_columns(root: Path) -> int:
    """
    Count the columns of keypoints that pose labels have after the box.

    :param root: of the dataset.
    :return: the product of ``kpt_shape`` in ``data.yaml``; 0 without one.
    :raises DatasetError: if the file or its ``kpt_shape`` is wrong.
    """
    path = root / 'data.yaml'
    node = _read_yaml(path).get('kpt_shape') if path.exists() else None
    if node is None or node.value is None:
        return 0
    match [part.value for part in node.value] if isinstance(node.value, tuple) else None:
        case [int(num), int(columns)] if num > 0 and columns in (2, 3):
            return num * columns
    raise DatasetError(path, 'kpt_shape: expected [number of keypoints, 2 or 3]')


def parse_label(line: str, num_keypoint_columns: int = 0) -> tuple[int, Edges]:
    """
    Read a line of a label file.

    :param line: ``class x y width height``, with a confidence or without, or with keypoints, which
        are not read; or without those ``class x1 y1 x2 y2 x3 y3 ...``, the corners of a polygon,
        which becomes the box around them. Coordinates are parts of the image.
    :param num_keypoint_columns: see :func:`keypoint_columns`.
    :return: class id, and xyxy as parts of the image, not cut.
    :raises ValueError: saying why it is no label.
    """
    fields, shown = line.split(), repr(line.strip()[:60])
    others = 'the corners of a polygon'
    if num_keypoint_columns:
        others = f'a box and {num_keypoint_columns} columns of keypoints (kpt_shape in data.yaml)'
    words = f'expected class, x, y, width and height, or {others}, got {shown}'
    is_box = len(fields) in (*BOX_COLUMNS, 5 + num_keypoint_columns)
    is_polygon = not (is_box or num_keypoint_columns) and len(fields) % 2 == 1 and len(fields) > 5
    if not (is_box or is_polygon):
        raise ValueError(words)
    try:
        label, *values = map(float, fields if is_polygon else fields[:5])
    except ValueError:
        raise ValueError(words) from None
    if not (label.is_integer() and all(map(math.isfinite, values))):
        raise ValueError(words)
    if is_polygon:
        if min(values) < -ROUNDING or max(values) > 1 + ROUNDING:
            raise ValueError(
                f'expected the corners of a polygon as parts of the image, 0 to 1, got {shown}; '
                f'if these are keypoints, write their kpt_shape in data.yaml'
            )
        xs, ys = values[::2], values[1::2]
        return int(label), (min(xs), min(ys), max(xs), max(ys))
    x, y, wide, high = values
    return int(label), (x - wide / 2, y - high / 2, x + wide / 2, y + high / 2)


def _read_label(
    path: Path,
    root: Path,
    size: tuple[int, int],
    num_classes: int,
    num_keypoint_columns: int,
    regions: AnnotationBuilder,
    tally: SkipLog,
) -> int:
    """Read the objects of one label file, and count its lines."""
    short = path.relative_to(root) if path.is_relative_to(root) else path
    num = 0
    for number, line in enumerate(read_text(path, MAX_ANNOTATION).splitlines(), 1):
        if not line.strip():
            continue
        num += 1
        where = f'{short}:{number}'
        try:
            label, edges = parse_label(line, num_keypoint_columns)
        except ValueError as error:
            tally.skip('lines that are no label', where, str(error))
            continue
        if label not in range(num_classes):
            tally.skip(
                'objects of unknown classes',
                where,
                f'class id {label} is not one of 0 to {num_classes - 1}',
            )
            continue
        box = regions.clip([edge * side for edge, side in zip(edges, (*size[::-1], *size[::-1]))])
        if box is None:
            tally.skip('boxes without area', where, f'nothing of {line.strip()[:60]!r} is inside')
            continue
        regions.add(box, label)
    return num
