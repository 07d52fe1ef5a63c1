"""The training and validation set of an experiment, from one or several datasets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
import os
from pathlib import Path

from mnssd_perception.text import mask_secrets
from mnssd_training.config.sections import DataConfig, SourceConfig
from mnssd_training.data.annotations import DatasetSplit
from mnssd_training.data.classes import (
    check_class_ids,
    check_class_map,
    join_classes,
    note_missing_classes,
    relabel,
)
from mnssd_training.data.formats import read_split
from mnssd_training.data.remote import is_remote
from mnssd_training.data.sample import Sample
from mnssd_training.errors import ConfigError, DatasetError


@dataclass(frozen=True)
class Splits:
    """
    The training and validation set of an experiment.

    :ivar class_names: in the order of their labels.
    :ivar notes: one line each on what was skipped and what looks wrong, for the user.
    """

    class_names: tuple[str, ...]
    train: list[Sample]
    val: list[Sample]
    notes: tuple[str, ...] = ()


def read_splits(config: DataConfig) -> Splits:
    """
    Read the training and validation set of an experiment.

    With several datasets, names of samples begin with the index of theirs.

    :raises ConfigError: if class lists contradict each other.
    """
    sources: list[tuple[SourceConfig, list[DatasetSplit], list[DatasetSplit]]] = []
    for source in (config, *config.extra_sources):
        train, val = (
            [_read_split(source, split, training, config)] if split else []
            for split, training in ((source.train_split, True), (source.val_split, False))
        )
        check_class_ids(source, train + val)
        check_class_map(source, train + val)
        sources.append((source, train, val))
    class_names = join_classes(
        [(source, train + val) for source, train, val in sources], config.classes
    )
    samples: tuple[list[Sample], list[Sample]] = ([], [])
    notes: list[str] = []
    for index, (source, *splits) in enumerate(sources):
        prefix, root = f'{index}/', f'{mask_secrets(source.root)}: '
        if not config.extra_sources:
            prefix = root = ''
        for role_samples, role_splits in zip(samples, splits):
            for split in role_splits:
                relabelled = relabel(split, source, class_names)
                if prefix:
                    relabelled = [replace(s, name=prefix + s.name) for s in relabelled]
                role_samples.extend(relabelled)
                notes += [root + note for note in split.notes]
    notes += note_missing_classes(*samples, class_names)
    train_paths, val_paths = ({str(sample.path) for sample in role} for role in samples)
    if both := train_paths & val_paths:
        notes.append(f'HIGH: {len(both)} images are in both splits, such as {min(both)}')
    return Splits(class_names, *samples, tuple(dict.fromkeys(notes)))


def read_samples(
    source: SourceConfig, split: str, class_names: Sequence[str] = ()
) -> list[Sample]:
    """
    Read one split of one dataset for evaluation.

    :param class_names: of a model, in the order of its labels; by default those of the dataset.
    """
    cache_dir = source.cache_dir if isinstance(source, DataConfig) else ''
    config = DataConfig(root=source.root, classes=tuple(class_names), cache_dir=cache_dir)
    dataset = _read_split(source, split, False, config)
    return relabel(dataset, source, join_classes([(source, [dataset])], class_names))


def _read_split(
    source: SourceConfig, split: str, training: bool, config: DataConfig
) -> DatasetSplit:
    if source.format != 'shards':
        if is_remote(source.root):
            raise ConfigError(
                f'data.root: only shards can be read at {source.root}; write them with mnssd shard'
            )
        root = Path(source.root).expanduser()
        if not os.path.isdir(root):  # noqa: PTH112 - pathlib raises for an impossible name
            raise DatasetError(root, 'no such folder; set data.root to that of the dataset')
    dataset = read_split(source, split, training, config.classes, config.cache_dir)
    samples = dataset.samples
    annotated = [sample for sample in samples if len(sample.boxes)]
    num_background = len(samples) - len(annotated)
    if not training or not num_background:
        return dataset
    if source.use_background:
        note = (
            f'{num_background} of {len(samples)} training images have no object: they are '
            f'background; data.use_background=false leaves them out'
        )
        return replace(dataset, notes=(*dataset.notes, note))
    if not annotated:
        raise DatasetError(
            source.root, 'expected an image with an object, got none, and use_background is false'
        )
    note = f'left out {num_background} images without objects from training'
    return replace(dataset, samples=annotated, notes=(*dataset.notes, note))
