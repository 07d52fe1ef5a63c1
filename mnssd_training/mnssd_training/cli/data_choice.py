"""Arguments of the command line to the datasets that they name."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
import os
from pathlib import Path

from mnssd_training.cli.data_arguments import FORMATS
from mnssd_training.config import (
    DataConfig,
    Experiment,
    load_experiment,
    shipped_experiments,
    SourceConfig,
)
from mnssd_training.data import Sample
from mnssd_training.data.formats import Format, guess_format, list_splits
from mnssd_training.data.sources import read_samples, read_splits
from mnssd_training.errors import ConfigError, DatasetError


@dataclass(frozen=True)
class DataChoice:
    """
    The datasets that a user has named.

    :ivar config: the datasets as an experiment names them.
    :ivar splits: lists to look at; empty for those that each is trained and scored on.
    :ivar experiment: that names them; None for a folder alone.
    """

    config: DataConfig
    splits: tuple[str, ...]
    experiment: Experiment | None

    @property
    def sources(self) -> tuple[SourceConfig, ...]:
        """All datasets."""
        return (self.config, *self.config.extra_sources)


def add_choice(parser: ArgumentParser) -> None:
    """Let a verb name datasets by a folder or by an experiment."""
    parser.add_argument(
        'source',
        help='folder of a dataset, an experiment file, '
        f'or one of: {", ".join(shipped_experiments())}',
    )
    parser.add_argument(
        'overrides', nargs='*', metavar='key.path=value', help='changes to the experiment'
    )
    parser.add_argument(
        '--format', choices=FORMATS, help='of the folder (default: what its folders look like)'
    )
    parser.add_argument(
        '--split', action='append', default=[], help='a list to look at; may be repeated'
    )


def choose(args: Namespace) -> DataChoice:
    """
    Find out what is meant.

    :param args: with the arguments of :func:`add_choice`.
    :return: the choice.
    :raises ConfigError: if the arguments contradict each other.
    """
    folder = Path(args.source).expanduser()
    # pathlib raises for a path that may not be looked at
    if not (os.path.isdir(folder) or args.format):  # noqa: PTH112
        experiment = load_experiment(args.source, args.overrides)
        return DataChoice(experiment.data, tuple(args.split), experiment)
    if args.overrides:
        raise ConfigError(
            f'{args.overrides[0]!r} changes an experiment, but {args.source} is a folder'
        )
    form: Format = args.format or guess_format(folder)
    splits = tuple(args.split) or tuple(list_splits(folder, form))
    if not splits:
        raise DatasetError(folder, 'there is no list of a split; name one with --split')
    train = 'train' if 'train' in splits else ''
    val = next((split for split in ('val', *splits) if split in splits and split != train), '')
    config = DataConfig(format=form, root=str(folder), train_split=train, val_split=val)
    return DataChoice(config, splits, None)


def read_choice(choice: DataChoice) -> tuple[tuple[str, ...], dict[str, list[Sample]]]:
    """
    Read the datasets.

    :param choice: which.
    :return: class names in the order of their labels; split to samples, where the lists to train
        and to score on are called train and val.
    """
    class_names = choice.config.classes or read_splits(choice.config).class_names
    samples: dict[str, list[Sample]] = {}
    for source in choice.sources:
        roles = {source.train_split: 'train', source.val_split: 'val'}
        wanted = {split: split for split in choice.splits} or roles
        for split, role in wanted.items():
            own = read_samples(source, split, class_names) if split else []
            samples.setdefault(role, []).extend(own)
    return class_names, samples
