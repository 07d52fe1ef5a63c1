"""Read one split of a dataset of any format: to train on it, or to check it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mnssd_training.config.sections import SourceConfig
from mnssd_training.data.annotations import (
    BoxRecord,
    build_split,
    DatasetSplit,
    ImageRecord,
    ParsedSplit,
)
from mnssd_training.data.coco import list_coco_splits, parse_coco
from mnssd_training.data.problems import Problem, try_read
from mnssd_training.data.sample import Sample
from mnssd_training.data.shards import read_shards
from mnssd_training.data.visdrone import list_visdrone_splits, parse_visdrone
from mnssd_training.data.voc import list_voc_splits, parse_voc
from mnssd_training.data.yolo import list_yolo_splits, parse_yolo
from mnssd_training.errors import DatasetError

Format = Literal['voc', 'coco', 'yolo', 'visdrone', 'shards']


def guess_format(root: Path) -> Format:
    """Guess the format of a dataset from the folders in it; raise if it looks like none."""
    folders: dict[Format, tuple[str, str]] = {
        'voc': ('Annotations', 'ImageSets'),
        'yolo': ('labels', 'images'),
        'coco': ('annotations', 'images'),
    }
    if not root.is_dir():
        raise DatasetError(root, 'no such folder')
    for name, (first, second) in folders.items():
        if (root / first).is_dir() and (root / second).is_dir():
            return name
    if (root / 'data.yaml').is_file():
        return 'yolo'
    if any(root.glob('*/annotations')):
        return 'visdrone'
    if any(root.glob('*.tar')):
        return 'shards'
    if list_coco_splits(root):
        return 'coco'
    raise DatasetError(root, 'cannot tell its format by its folders; name it with --format')


def list_splits(root: Path, dataset_format: Format) -> list[str]:
    """List the splits of a dataset: train, val and test where they exist."""
    return {
        'voc': list_voc_splits,
        'yolo': list_yolo_splits,
        'coco': list_coco_splits,
        'visdrone': list_visdrone_splits,
        'shards': lambda _: ['train', 'val'],
    }[dataset_format](root)


def parse_split(
    source: SourceConfig, split: str, class_names: Sequence[str] = (), cache: str = ''
) -> ParsedSplit:
    """
    Parse one split into what its files say and what is wrong with them.

    :param class_names: the classes, for a dataset that does not list its own.
    :param cache: folder that keeps remote shards.
    """
    root = Path(source.root).expanduser()
    return {
        'voc': lambda: parse_voc(root, split, source.use_difficult),
        'coco': lambda: parse_coco(root, split),
        'yolo': lambda: parse_yolo(root, split, class_names),
        'visdrone': lambda: parse_visdrone(root, split),
        'shards': lambda: _parse_shards(source.root, split, cache),
    }[source.format]()


def read_split(
    source: SourceConfig,
    split: str,
    training: bool = False,
    class_names: Sequence[str] = (),
    cache: str = '',
) -> DatasetSplit:
    """
    Read one split as training does.

    Boxes are clipped to the image. What :data:`~mnssd_training.data.problems.SKIPPED_KINDS` names
    is skipped and counted, or refused with ``strict_labels``.

    :param training: see :func:`~mnssd_training.data.annotations.build_split`.
    :raises DatasetError: for all other errors.
    """
    if source.format == 'shards':
        return read_shards(source.root, split, cache)
    return build_split(parse_split(source, split, class_names), source, training)


def _parse_shards(root: str, split: str, cache: str) -> ParsedSplit:
    problems: list[Problem] = []
    dataset = try_read('list unreadable', problems, read_shards, root, split, cache)
    if dataset is None:
        return ParsedSplit(root, problems=problems)
    records = [_to_record(sample, dataset.class_names) for sample in dataset.samples]
    return ParsedSplit(root, records, class_names=dataset.class_names)


def _to_record(sample: Sample, class_names: Sequence[str]) -> ImageRecord:
    boxes = [
        BoxRecord(f'object {index}', class_names[label], tuple(box))
        for index, (box, label) in enumerate(zip(sample.boxes.tolist(), sample.labels.tolist()))
    ]
    regions = zip(sample.ignore.tolist(), sample.ignore_labels.tolist())
    boxes += [
        BoxRecord(f'region {index}', class_names[label] if label >= 0 else '', tuple(box), True)
        for index, (box, label) in enumerate(regions)
    ]
    return ImageRecord(sample.name, sample.path, str(sample.path), sample.size, tuple(boxes))
