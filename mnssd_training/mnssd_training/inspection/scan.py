"""A dataset of any format to all that its files say, with the names of its model's classes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from mnssd_training.config.data import SourceConfig
from mnssd_training.data.classes import renamed
from mnssd_training.data.reading import IGNORE_NAMES
from mnssd_training.errors import DatasetError
from mnssd_training.inspection.findings import Finding
from mnssd_training.inspection.records import Entry, RawBox, Scan
from mnssd_training.inspection.scan_coco import coco_splits, scan_coco
from mnssd_training.inspection.scan_shards import scan_shards
from mnssd_training.inspection.scan_visdrone import scan_visdrone, visdrone_splits
from mnssd_training.inspection.scan_voc import scan_voc, voc_splits
from mnssd_training.inspection.scan_yolo import scan_yolo, yolo_splits

Format = Literal['voc', 'coco', 'yolo', 'visdrone', 'shards']


def guess_format(root: Path) -> Format:
    """
    Tell how a dataset is laid out, from the folders in it.

    :param root: its folder.
    :return: a value of ``data.format``.
    :raises DatasetError: if it is like none.
    """
    signs: dict[Format, tuple[str, ...]] = {
        'voc': ('Annotations', 'ImageSets'),
        'yolo': ('labels', 'images'),
        'coco': ('annotations', 'images'),
    }
    if not root.is_dir():
        raise DatasetError(root, 'no such folder')
    for name, folders in signs.items():
        if all((root / folder).is_dir() for folder in folders):
            return name
    if (root / 'data.yaml').is_file():
        return 'yolo'
    if any(root.glob('*/annotations')):
        return 'visdrone'
    if any(root.glob('*.tar')):
        return 'shards'
    if coco_splits(root):
        return 'coco'
    raise DatasetError(root, 'cannot tell its format by its folders; say it with --format')


def splits_of(root: Path, form: Format) -> list[str]:
    """
    List the splits of a dataset: train, val and test where there are such.

    :param root: its folder.
    :param form: its format.
    :return: their names.
    """
    listers = {
        'voc': voc_splits,
        'yolo': yolo_splits,
        'coco': coco_splits,
        'visdrone': visdrone_splits,
        'shards': lambda _: ['train', 'val'],
    }
    return listers[form](root)


def scan(source: SourceConfig, splits: Sequence[str], class_names: Sequence[str] = ()) -> Scan:
    """
    Read everything in a dataset.

    :param source: where it is and how it is laid out.
    :param splits: names or paths of its lists.
    :param class_names: of the model; empty for those that the dataset declares, or if it declares
        none, all that it uses.
    :return: what was read.
    :raises DatasetError: if there is no such folder.
    """
    root = Path(source.root).expanduser()
    if source.format != 'shards' and not root.is_dir():
        raise DatasetError(root, 'no such folder; set data.root to that of the dataset')
    scanners = {
        'voc': lambda: scan_voc(root, splits, source.use_difficult),
        'yolo': lambda: scan_yolo(root, splits, class_names),
        'coco': lambda: scan_coco(root, splits),
        'visdrone': lambda: scan_visdrone(root, splits),
        'shards': lambda: scan_shards(source, splits),
    }
    return _name_classes(scanners[source.format](), source.class_map, class_names)


def _name_classes(raw: Scan, rename: Mapping[str, str], class_names: Sequence[str]) -> Scan:
    """Rename classes, turn those without a name into ignore regions, and find unknown ones."""
    declared = list(class_names) or [renamed(name, rename) for name in raw.class_names]
    known = tuple(dict.fromkeys(name for name in declared if name))
    entries = []
    findings = list(raw.findings)
    for entry in raw.entries:
        boxes = tuple(_rename(box, rename, known) for box in entry.boxes)
        entries.append(replace(entry, boxes=boxes))
        if known:
            findings += _unknown(entries[-1], known)
    if not known:
        used = {box.name for entry in entries for box in entry.boxes if not box.is_ignore}
        known = tuple(sorted(used - {''}))
    return Scan(known, tuple(entries), tuple(findings))


def _rename(box: RawBox, rename: Mapping[str, str], known: Sequence[str]) -> RawBox:
    """Give a box the name of its class in the model."""
    name = renamed(box.name, rename, known) if box.name else ''
    hides = name not in known and name.lower() in IGNORE_NAMES
    hides = hides or (not name and bool(box.name))
    return replace(box, name=name, is_ignore=box.is_ignore or hides)


def _unknown(entry: Entry, known: Sequence[str]) -> list[Finding]:
    """Find boxes of classes that the model does not know."""
    words = f'is not one of {", ".join(known)}'
    return [
        Finding('unknown class', str(entry.annotation), box.where, f'{box.name!r} {words}')
        for box in entry.boxes
        if box.name and box.name not in known and not box.is_ignore
    ]
