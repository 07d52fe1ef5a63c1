"""Shards to what their index says."""

from collections.abc import Sequence
from pathlib import Path

from mnssd_training.config.data import DataConfig, SourceConfig
from mnssd_training.data.sample import Sample
from mnssd_training.data.shards import read_shards
from mnssd_training.errors import DatasetError
from mnssd_training.inspection.findings import Finding
from mnssd_training.inspection.records import Entry, RawBox, Scan


def scan_shards(source: SourceConfig, splits: Sequence[str]) -> Scan:
    """
    Read the index of shards, which was checked when they were made.

    :param source: the dataset.
    :param splits: their names.
    :return: what was read; an index with a fault has no entries.
    """
    findings: list[Finding] = []
    entries: list[Entry] = []
    classes: dict[str, None] = {}
    cache = source.cache_dir if isinstance(source, DataConfig) else ''
    for split in splits:
        try:
            reading = read_shards(source.root, split, cache)
        except DatasetError as error:
            words = str(error).removeprefix(f'{error.path}: ')
            findings.append(Finding('list unreadable', str(error.path), split, words))
            continue
        classes |= dict.fromkeys(reading.class_names)
        entries += [_entry(sample, split, reading.class_names) for sample in reading.samples]
    return Scan(tuple(classes), tuple(entries), tuple(findings))


def _entry(sample: Sample, split: str, classes: Sequence[str]) -> Entry:
    """Take a sample apart."""
    boxes = [
        RawBox(f'object {index}', classes[label], _edges(box))
        for index, (box, label) in enumerate(zip(sample.boxes, sample.labels))
    ]
    boxes += [
        RawBox(f'region {index}', classes[label] if label >= 0 else '', _edges(box), True)
        for index, (box, label) in enumerate(zip(sample.ignore, sample.ignore_labels))
    ]
    return Entry(
        sample.name, split, sample.path, Path(str(sample.path)), sample.size, tuple(boxes)
    )


def _edges(box: Sequence[float]) -> tuple[float, float, float, float]:
    """Give the edges of a box as plain numbers."""
    x1, y1, x2, y2 = (float(edge) for edge in box)
    return x1, y1, x2, y2
