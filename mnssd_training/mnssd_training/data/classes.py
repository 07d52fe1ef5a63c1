"""
Class lists of datasets to one class list.

The list of an experiment is what it says under ``classes``, or the union of what its datasets
hold. What cannot be meant is refused; what is odd is noted, with HIGH, MEDIUM or LOW before it.
"""

from collections.abc import Iterable, Mapping, Sequence
import difflib

from mnssd_training.config.data import SourceConfig
from mnssd_training.data.annotations import DatasetSplit
from mnssd_training.data.sample import ANY_CLASS, Sample
from mnssd_training.errors import ConfigError, DatasetError
import numpy as np
from numpy.typing import NDArray

OTHERS = '*'  # in ``rename``: all names that it does not name
HIDDEN = ''  # in ``rename``: an ignore region


def renamed(name: str, rename: Mapping[str, str], class_names: Sequence[str] = ()) -> str:
    """
    Give a class of a dataset its name in the model.

    :param name: in the dataset.
    :param rename: dataset names to model names; ``*`` stands for all others.
    :param class_names: classes that keep their name beside ``*``.
    :return: the name; empty for an ignore region.
    """
    if name in rename:
        return rename[name]
    return name if name in class_names else rename.get(OTHERS, name)


def join_classes(
    sources: Sequence[tuple[SourceConfig, Sequence[DatasetSplit]]], wanted: Sequence[str] = ()
) -> tuple[str, ...]:
    """
    Make one class list of all datasets.

    :param sources: each dataset with what its splits hold.
    :param wanted: the list, if the experiment gives it.
    :return: the classes in the order of their labels: as wanted, or those of the first dataset
        first, each in the order of its own list; names only found in annotations by alphabet.
    :raises ConfigError: if names differ too little, or if there is no class.
    """
    names: dict[str, None] = dict.fromkeys(wanted)
    if not wanted:
        for source, readings in sources:
            for name in _names(readings):
                names[renamed(name, source.class_map)] = None
        names.pop(HIDDEN, None)
    _check_spelling(names)
    if not names:
        raise ConfigError('data: there is no class; expected data.classes, or objects to find')
    return tuple(names)


def relabel(
    reading: DatasetSplit, source: SourceConfig, class_names: Sequence[str]
) -> list[Sample]:
    """
    Count the labels of a dataset in the joint class list.

    :param reading: the samples, labelled in their own class names.
    :param source: the dataset they are of.
    :param class_names: the joint list.
    :return: the samples; objects of a class that is renamed to nothing are ignore regions.
    :raises DatasetError: if there is an object of a class that is not in the list.
    """
    places = {name: label for label, name in enumerate(class_names)}
    table = np.full(len(reading.class_names) + 1, ANY_CLASS, np.int64)  # its last is ANY_CLASS
    unknown = set()
    for label, own in enumerate(reading.class_names):
        name = renamed(own, source.class_map, class_names)
        table[label] = places.get(name, ANY_CLASS)
        if name != HIDDEN and name not in places:
            unknown.add(label)
    if not unknown and (table[:-1] == np.arange(len(table) - 1)).all():
        return list(reading.samples)
    return [
        _relabelled(sample, reading, table, unknown, class_names) for sample in reading.samples
    ]


def check_rename(source: SourceConfig, readings: Sequence[DatasetSplit]) -> None:
    """
    Refuse to rename a class that is not there.

    :param source: the dataset.
    :param readings: what its splits hold.
    :raises ConfigError: naming the class and the nearest one that is there.
    """
    known = _names(readings)
    for name in source.class_map:
        if name != OTHERS and name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f'did you mean {near[0]!r}' if near else f'it has {", ".join(known)}'
            raise ConfigError(f'data.class_map: {source.root} has no class {name!r}; {hint}')


def check_ids(source: SourceConfig, readings: Sequence[DatasetSplit]) -> None:
    """
    Refuse splits of one dataset that use one number for two classes.

    :param source: the dataset.
    :param readings: what its splits hold.
    :raises DatasetError: naming the number and both names.
    """
    known: dict[int, str] = {}
    for reading in readings:
        for number, name in reading.ids.items():
            if known.setdefault(number, name) != name:
                raise DatasetError(
                    source.root,
                    f'class id {number} is {known[number]!r} in one split and {name!r} in '
                    f'another; make them agree',
                )


def balance(
    train: Iterable[Sample], val: Iterable[Sample], class_names: Sequence[str]
) -> tuple[str, ...]:
    """
    Note classes that one split lacks.

    :param train: the training images; none for no notes.
    :param val: the validation images; none for no notes.
    :param class_names: the classes in the order of their labels.
    :return: a line for each such class.
    """
    train, val = list(train), list(val)
    if not train or not val:
        return ()
    notes = []
    trained, scored = _count(train, len(class_names)), _count(val, len(class_names))
    for name, learnt, asked in zip(class_names, trained, scored):
        if asked and not learnt:
            notes.append(f'HIGH: {name!r} is only in the validation split: it cannot be learnt')
        elif learnt and not asked:
            notes.append(f'MEDIUM: {name!r} is only in the training split: it is not scored')
        elif not learnt:
            notes.append(f'LOW: {name!r} has no object in either split')
    return tuple(notes)


def _names(readings: Sequence[DatasetSplit]) -> list[str]:
    """List the classes of a dataset in order."""
    if all(reading.declared for reading in readings):
        return list(dict.fromkeys(name for reading in readings for name in reading.class_names))
    return sorted({name for reading in readings for name in reading.class_names})


def _check_spelling(names: Iterable[str]) -> None:
    """Refuse names that people would take for the same."""
    seen: dict[str, str] = {}
    for name in names:
        plain = ''.join(letter for letter in name.casefold() if letter not in ' \t_-')
        other = seen.setdefault(plain, name)
        if other != name:
            raise ConfigError(
                f'data: classes {other!r} and {name!r} differ only in spelling; '
                f'make them one by data.class_map'
            )


def _relabelled(
    sample: Sample,
    reading: DatasetSplit,
    table: NDArray[np.int64],
    unknown: set[int],
    class_names: Sequence[str],
) -> Sample:
    """Relabel one sample."""
    bad = unknown.intersection(sample.labels.tolist()) if unknown else ()
    if bad:
        raise DatasetError(
            sample.path,
            f'has an object of class {reading.class_names[min(bad)]!r}; known are '
            f'{", ".join(class_names)}; data.class_map can give it another name, or an empty one '
            f'to ignore it',
        )
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


def _count(samples: Iterable[Sample], num_classes: int) -> list[int]:
    """Count the objects of each class."""
    labels = [sample.labels for sample in samples]
    return np.bincount(np.concatenate(labels), minlength=num_classes).tolist()
