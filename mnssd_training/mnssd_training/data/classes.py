"""
The class list of an experiment, and the class names of its datasets.

The list is ``data.classes``, or the union of the classes of the datasets. Contradictions are
errors; what looks wrong becomes a note that begins with HIGH, MEDIUM or LOW.
"""

from collections.abc import Mapping, Sequence

from mnssd_perception.text import did_you_mean
from mnssd_training.config.sections import SourceConfig
from mnssd_training.data.annotations import DatasetSplit
from mnssd_training.data.sample import ANY_CLASS, Sample
from mnssd_training.errors import ConfigError, DatasetError
import numpy as np
from numpy.typing import NDArray

OTHERS = '*'  # in a class map: all names that are not in it
IGNORED = ''  # in a class map: an ignore region


def map_class(name: str, class_map: Mapping[str, str], class_names: Sequence[str] = ()) -> str:
    """
    Map a class of a dataset to a class of the model; to ``''`` for an ignore region.

    :param class_names: classes that ``*`` does not map.
    """
    if name in class_map:
        return class_map[name]
    return name if name in class_names else class_map.get(OTHERS, name)


def join_classes(
    sources: Sequence[tuple[SourceConfig, Sequence[DatasetSplit]]], class_names: Sequence[str] = ()
) -> tuple[str, ...]:
    """
    Join the class lists of datasets.

    :return: ``class_names``, or the classes of the first dataset, then those of the next, each in
        the order of its own list; names without a list are sorted.
    :raises ConfigError: if names differ only in spelling, or there is no class.
    """
    names = dict.fromkeys(class_names)
    if not class_names:
        for source, splits in sources:
            names |= dict.fromkeys(map_class(name, source.class_map) for name in _names(splits))
        names.pop(IGNORED, None)
    by_spelling: dict[str, str] = {}
    for name in names:
        spelling = ''.join(char for char in name.casefold() if char not in ' \t_-')
        other = by_spelling.setdefault(spelling, name)
        if other != name:
            raise ConfigError(
                f'data: classes {other!r} and {name!r} differ only in spelling; '
                f'join them with data.class_map'
            )
    if not names:
        raise ConfigError('data: there is no class; expected data.classes or annotated objects')
    return tuple(names)


def relabel(split: DatasetSplit, source: SourceConfig, class_names: Sequence[str]) -> list[Sample]:
    """
    Change the labels of a split to indices into the joint class list.

    Objects of a class that is mapped to nothing become ignore regions.

    :raises DatasetError: for an object of a class that is not in the list.
    """
    indices = {name: label for label, name in enumerate(class_names)}
    mapped = [map_class(name, source.class_map, class_names) for name in split.class_names]
    unknown = {i for i, name in enumerate(mapped) if name != IGNORED and name not in indices}
    # ANY_CLASS is -1 and indexes the last item.
    table = np.array([*(indices.get(name, ANY_CLASS) for name in mapped), ANY_CLASS], np.int64)
    if not unknown and (table[:-1] == np.arange(len(table) - 1)).all():
        return list(split.samples)
    for sample in split.samples if unknown else ():
        if bad := unknown.intersection(sample.labels.tolist()):
            raise DatasetError(
                sample.path,
                f'has an object of class {split.class_names[min(bad)]!r}; available: '
                f'{", ".join(class_names)}; data.class_map can give it another name, or an empty '
                f'one to ignore it',
            )
    return [_relabel_sample(sample, table) for sample in split.samples]


def _relabel_sample(sample: Sample, table: NDArray[np.int64]) -> Sample:
    labels = table[sample.labels]
    keep = labels != ANY_CLASS
    return Sample(
        sample.name,
        sample.path,
        sample.size,
        sample.boxes[keep],
        labels[keep],
        np.concatenate((sample.ignore, sample.boxes[~keep])),
        np.concatenate((table[sample.ignore_labels], labels[~keep])),
    )


def check_class_map(source: SourceConfig, splits: Sequence[DatasetSplit]) -> None:
    """Raise :class:`ConfigError` for a class of a class map that the dataset does not have."""
    known = _names(splits)
    for name in source.class_map:
        if name != OTHERS and name not in known:
            raise ConfigError(
                f'data.class_map: {source.root} has no class {name!r}; {did_you_mean(name, known)}'
            )


def check_class_ids(source: SourceConfig, splits: Sequence[DatasetSplit]) -> None:
    """Raise :class:`DatasetError` if the splits of a dataset number its classes differently."""
    known: dict[int, str] = {}
    for split in splits:
        for number, name in split.ids.items():
            if known.setdefault(number, name) != name:
                raise DatasetError(
                    source.root,
                    f'class id {number} is {known[number]!r} in one split and {name!r} in '
                    f'another; make them agree',
                )


def note_missing_classes(
    train: Sequence[Sample], val: Sequence[Sample], class_names: Sequence[str]
) -> list[str]:
    """Note the classes that have no object in one of two splits; none if a split is empty."""
    if not train or not val:
        return []
    notes = []
    labels = (np.concatenate([sample.labels for sample in split]) for split in (train, val))
    counts = (np.bincount(array, minlength=len(class_names)) for array in labels)
    for name, num_train, num_val in zip(class_names, *counts):
        if num_val and not num_train:
            notes.append(f'HIGH: {name!r} is only in the validation set: it cannot be learned')
        elif num_train and not num_val:
            notes.append(f'MEDIUM: {name!r} is only in the training set: it is not evaluated')
        elif not num_train:
            notes.append(f'LOW: {name!r} has no object in either split')
    return notes


def _names(splits: Sequence[DatasetSplit]) -> list[str]:
    """List the classes of a dataset, sorted unless the dataset lists them."""
    names = list(dict.fromkeys(name for split in splits for name in split.class_names))
    return names if all(split.declared for split in splits) else sorted(names)
