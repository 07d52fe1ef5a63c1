"""A YOLO folder to all that its files say, and to all that is wrong with them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mnssd_training.data.reading import DirectoryIndex
from mnssd_training.data.yolo import (
    find_label,
    find_split,
    keypoint_columns,
    label_paths,
    list_images,
    parse_label,
    read_class_names,
    splits_in_yaml,
    usual_splits,
)
from mnssd_training.inspection.findings import Finding
from mnssd_training.inspection.reading import (
    attempt,
    image_files,
    read_class_list,
    read_list,
    read_numbers,
    read_text,
    strays,
)
from mnssd_training.inspection.records import Entry, RawBox, Scan

LISTS = Path('splits')


def yolo_splits(root: Path) -> list[str]:
    """List the splits of a YOLO folder: its lists, ``data.yaml``, or the folders of its images."""
    names = sorted(path.stem for path in (root / LISTS).glob('*.txt'))
    names = names or splits_in_yaml(root)
    names = names or sorted(path.name for path in (root / 'images').glob('*') if path.is_dir())
    return usual_splits(names) or names


def scan_yolo(root: Path, splits: Sequence[str], class_names: Sequence[str] = ()) -> Scan:
    """
    Read everything in a YOLO folder.

    :param root: folder with ``images``, ``labels``, and ``classes.txt`` and ``splits`` or
        ``data.yaml``.
    :param splits: names or paths of the lists, or of folders of images.
    :param class_names: in the order of the ids, for a dataset that does not list its own.
    :return: what was read.
    """
    findings: list[Finding] = []
    classes = _classes(root, class_names, findings)
    keypoints = attempt(lambda: keypoint_columns(root), root, 'annotation unreadable', findings)
    folders = DirectoryIndex()
    entries = []
    for split in splits:
        for image in _images(root, split, folders, findings):
            entries.append(
                _scan_file(root, image, split, classes, keypoints or 0, folders, findings)
            )
    labels = sorted((root / 'labels').rglob('*.txt'))
    findings += strays(entries, image_files(root / 'images'), labels, _listed(root))
    return Scan(classes, tuple(entries), tuple(findings))


def _classes(root: Path, class_names: Sequence[str], findings: list[Finding]) -> tuple[str, ...]:
    """Read the class list, or that of the file that Ultralytics keeps beside a dataset."""
    path = root / 'classes.txt'
    if path.exists():
        return read_class_list(path, findings)

    def read() -> tuple[str, ...]:
        return read_class_names(root, class_names)

    return attempt(read, path, 'class list wrong', findings) or ()


def _images(
    root: Path, split: str, folders: DirectoryIndex, findings: list[Finding]
) -> list[Path]:
    """List the images of a split, each once."""
    places = attempt(lambda: find_split(root, split), root, 'list unreadable', findings) or []
    images: dict[Path, str] = {}
    for place in places:

        def read(place: Path = place) -> list[tuple[str, Path]]:
            return list_images(root, place, folders)

        for where, image in attempt(read, place, 'list unreadable', findings) or []:
            line, _, _ = where.partition(':')
            if image in images:
                words = f'{image.name!r} stands on {images[image]} too'
                findings.append(Finding('listed twice', str(place), line, words))
            else:
                images[image] = line
    return list(images)


def _listed(root: Path) -> Iterable[str]:
    """Name what any list of the folder names."""
    for path in (root / LISTS).glob('*.txt'):
        for line in read_list(path, []):
            yield Path(line.replace('\\', '/')).stem


def _scan_file(
    root: Path,
    image: Path,
    split: str,
    classes: Sequence[str],
    num_keypoint_columns: int,
    folders: DirectoryIndex,
    findings: list[Finding],
) -> Entry:
    """Read the labels of one image as far as they can be read."""
    path = find_label(root, image, folders)
    boxes: list[RawBox] = []
    if path is None:
        path, *others = label_paths(root, image)
        words = f'no such file, nor {", ".join(map(str, others))}'
        findings.append(Finding('label file missing', str(path), '', words))
    else:
        text = read_text(path, 'annotation unreadable', findings) or ''
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                where = f'line {number}'
                boxes += _scan_line(path, line, where, classes, num_keypoint_columns, findings)
    return Entry(image.stem, split, image, path, None, tuple(boxes), is_fraction=True)


def _scan_line(
    path: Path,
    line: str,
    where: str,
    classes: Sequence[str],
    num_keypoint_columns: int,
    findings: list[Finding],
) -> list[RawBox]:
    """Read one line: one box, or none."""
    try:
        label, edges = parse_label(line, num_keypoint_columns)
    except ValueError as error:
        if read_numbers(line.split(), path, where, findings) is not None:
            findings.append(Finding('bad value', str(path), where, str(error)))
        return []
    if label < 0:
        words = f'expected a class id from 0, got {label}'
        findings.append(Finding('bad value', str(path), where, words))
        return []
    if label >= len(classes):
        words = f'id {label}; classes.txt has {len(classes)} names'
        findings.append(Finding('unknown class', str(path), where, words))
    name = classes[label] if label < len(classes) else ''
    return [RawBox(where, name, edges)]
