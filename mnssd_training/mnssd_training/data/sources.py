"""The ``data`` section of an experiment to its images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mnssd_perception.text import mask_secrets
from mnssd_training.config.data import DataConfig, SourceConfig
from mnssd_training.data.annotations import DatasetSplit
from mnssd_training.data.classes import (
    balance,
    check_ids,
    check_rename,
    join_classes,
    relabel,
)
from mnssd_training.data.formats import read_split
from mnssd_training.data.remote import is_remote
from mnssd_training.data.sample import Sample
from mnssd_training.errors import ConfigError, DatasetError


@dataclass(frozen=True)
class Splits:
    """
    The images of an experiment.

    :ivar class_names: in the order of their labels.
    :ivar train: to train on.
    :ivar val: to score on.
    :ivar notes: what was skipped and what is odd, a line each, for the user to read.
    """

    class_names: tuple[str, ...]
    train: list[Sample]
    val: list[Sample]
    notes: tuple[str, ...] = ()


def read_splits(config: DataConfig) -> Splits:
    """
    Read the images of an experiment.

    With several datasets, names of samples begin with the number of theirs.

    :param config: which datasets.
    :return: both splits with their joint class list.
    :raises DatasetError: naming the file that is missing or wrong.
    :raises ConfigError: if class lists do not go together.
    """
    read: list[tuple[SourceConfig, list[DatasetSplit], list[DatasetSplit]]] = []
    for source in (config, *config.extra_sources):
        splits = (source.train_split, source.val_split)
        train, val = (
            [_read(source, split, training, config.classes, config.cache_dir)] if split else []
            for split, training in zip(splits, (True, False))
        )
        check_ids(source, train + val)
        check_rename(source, train + val)
        read.append((source, train, val))
    class_names = join_classes(
        [(source, train + val) for source, train, val in read], config.classes
    )
    samples: tuple[list[Sample], list[Sample]] = ([], [])
    notes: list[str] = []
    for number, (source, *splits_read) in enumerate(read):
        prefix = f'{number}/' if config.extra_sources else ''
        for into, readings in zip(samples, splits_read):
            for reading in readings:
                into.extend(_prefixed(relabel(reading, source, class_names), prefix))
                where = f'{mask_secrets(source.root)}: ' if config.extra_sources else ''
                notes.extend(where + note for note in reading.notes)
    train_samples, val_samples = samples
    notes += balance(train_samples, val_samples, class_names)
    notes += _leaks(train_samples, val_samples)
    return Splits(class_names, train_samples, val_samples, tuple(dict.fromkeys(notes)))


def read_samples(
    source: SourceConfig, split: str, class_names: Sequence[str] = ()
) -> list[Sample]:
    """
    Read one split of one dataset, to score on.

    :param source: the dataset.
    :param split: its list of images, by name or as a path.
    :param class_names: the classes in the order of their labels, as of a model; by default those
        of the dataset.
    :return: all images of the split.
    :raises DatasetError: naming the file that is missing or wrong.
    """
    cache = source.cache_dir if isinstance(source, DataConfig) else ''
    reading = _read(source, split, False, class_names, cache)
    names = join_classes([(source, [reading])], class_names)
    return relabel(reading, source, names)


def _read(
    source: SourceConfig, split: str, training: bool, classes: Sequence[str], cache: str
) -> DatasetSplit:
    """Read one split by the reader of its format."""
    if source.format != 'shards' and not is_remote(source.root):
        _check_folder(source.root)
    elif source.format != 'shards':
        raise ConfigError(
            f'data.root: only shards can be read at {source.root}; make them by the verb shard'
        )
    dataset = read_split(source, split, training, classes, cache)
    return _background(dataset, source) if training else dataset


def _background(reading: DatasetSplit, source: SourceConfig) -> DatasetSplit:
    """Keep images without objects to train on, or leave them out, whatever the format."""
    shown = [sample for sample in reading.samples if len(sample.boxes)]
    num = len(reading.samples) - len(shown)
    if not num:
        return reading
    if source.use_background:
        note = (
            f'{num} of {len(reading.samples)} images to train on show no object: they are '
            f'background; data.use_background=false leaves them out'
        )
        return replace(reading, notes=(*reading.notes, note))
    if not shown:
        raise DatasetError(
            source.root, 'expected an image with an object, got none, and use_background is false'
        )
    note = f'left out {num} images without objects from training'
    return replace(reading, samples=shown, notes=(*reading.notes, note))


def _check_folder(root: str) -> None:
    """Refuse a root that is not there."""
    path = Path(root).expanduser()
    try:
        there = path.is_dir()
    except (OSError, ValueError):  # a name that no folder can have
        there = False
    if not there:
        raise DatasetError(path, 'no such folder; set data.root to that of the dataset')


def _prefixed(samples: Iterable[Sample], prefix: str) -> list[Sample]:
    """Make names of samples differ between datasets."""
    if not prefix:
        return list(samples)
    return [replace(sample, name=prefix + sample.name) for sample in samples]


def _leaks(train: Sequence[Sample], val: Sequence[Sample]) -> list[str]:
    """Note images that are in both splits."""
    both = {str(sample.path) for sample in train} & {str(sample.path) for sample in val}
    if not both:
        return []
    return [f'HIGH: {len(both)} images are in both splits, such as {min(both)}']
