"""Command-line arguments that choose an experiment or datasets."""

from argparse import Action, ArgumentParser, Namespace, SUPPRESS
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
import os
from pathlib import Path
import textwrap
from typing import Any, get_args

from mnssd_perception.text import did_you_mean
from mnssd_training.config import (
    DataConfig,
    expand_stored,
    Experiment,
    load_experiment,
    shipped_experiments,
    SourceConfig,
)
from mnssd_training.data import read_samples, read_splits, Sample
from mnssd_training.data.formats import Format, guess_format, list_splits
from mnssd_training.errors import ConfigError, DatasetError


@dataclass(frozen=True)
class DataChoice:
    """Datasets chosen on the command line."""

    config: DataConfig
    splits: tuple[str, ...] = ()  # empty for train_split and val_split of each dataset
    experiment: Experiment | None = None  # None for a folder or the data of a checkpoint

    @property
    def sources(self) -> tuple[SourceConfig, ...]:
        """All datasets."""
        return (self.config, *self.config.extra_sources)


class RenamedFlag(Action):
    """Refuses a former flag; its metavar is the flag that replaces it."""

    def __call__(self, parser: ArgumentParser, *arguments: Any) -> None:
        """End with an error that names the new flag."""
        parser.error(f'{self.option_strings[0]} is now {self.metavar}')


def add_experiment(parser: ArgumentParser, is_optional: bool = False) -> None:
    """Add ``experiment`` and ``overrides``, for :func:`read_experiment`."""
    names = f'a YAML file, or one of: {", ".join(shipped_experiments())}'
    parser.add_argument('experiment', nargs='?' if is_optional else None, help=names)
    _add_overrides(parser)


def read_experiment(args: Namespace) -> Experiment:
    """Load the experiment of the command line."""
    return load_experiment(args.experiment, args.overrides)


def add_data_arguments(
    parser: ArgumentParser, has_checkpoint: bool = False, has_split: bool = True
) -> None:
    """
    Add the arguments for :func:`choose_data`; parse them intermixed.

    :param has_checkpoint: the datasets may be those of a checkpoint.
    :param has_split: add ``--split``.
    """
    default = '; default: the data that the checkpoint was trained on' if has_checkpoint else ''
    parser.add_argument(
        'source',
        nargs='?' if has_checkpoint else None,
        help='folder of a dataset, an experiment file, '
        f'or one of: {", ".join(shipped_experiments())}{default}',
    )
    _add_overrides(parser)
    parser.add_argument(
        '--format', choices=get_args(Format), help='format of the folder (default: detected)'
    )
    parser.add_argument(
        '--class-map',
        action='append',
        default=[],
        metavar='A=B',
        help='class A of the dataset is class B of the model; nothing after the = ignores it',
    )
    parser.set_defaults(split=[])
    if has_split:
        parser.add_argument(
            '--split', action='append', help='a split to read, by name or path; may be repeated'
        )
    renamed = {'--rename': '--class-map', '--experiment': 'an argument: MODEL FILE key.path=value'}
    for flag, new in renamed.items() if has_checkpoint else ():
        parser.add_argument(
            flag, action=RenamedFlag, nargs='*', metavar=new, default=SUPPRESS, help=SUPPRESS
        )


def _add_overrides(parser: ArgumentParser) -> None:
    parser.add_argument(
        'overrides', nargs='*', metavar='key.path=value', help='changes to the experiment'
    )


def choose_data(
    args: Namespace,
    stored: Mapping[str, Any] | None = None,
    class_names: Sequence[str] = (),
    all_splits: bool = False,
) -> DataChoice:
    """
    Choose the datasets that the arguments name.

    :param stored: experiment of a checkpoint as plain data, used if the arguments name none.
    :param class_names: of the model, in the order of its labels; empty for those of the datasets.
    :param all_splits: choose all splits of a folder, not only for training and validation.
    :raises ConfigError: if the arguments name no dataset or contradict each other.
    """
    choice = _choose(args, stored or {}, all_splits)
    return replace(choice, config=map_classes(choice.config, args, class_names))


def map_classes(
    config: DataConfig, args: Namespace, class_names: Sequence[str] = ()
) -> DataConfig:
    """
    Add the ``--class-map`` of the arguments to a dataset, and the classes of a model.

    :param class_names: in the order of its labels; empty for those of the dataset.
    :raises ConfigError: if an argument is not ``A=B``.
    """
    class_map = dict(config.class_map)
    for pair in args.class_map:
        old, separator, new = pair.partition('=')
        if not (separator and old):
            raise ConfigError(f'--class-map: expected A=B, got {pair!r}')
        class_map[old.strip()] = new.strip()
    changes = {'class_map': class_map, 'classes': tuple(class_names) or config.classes}
    return config.model_copy(update=changes)


def _choose(args: Namespace, stored: Mapping[str, Any], all_splits: bool) -> DataChoice:
    splits = tuple(args.split)
    if args.source is None:
        if 'data' not in stored:
            raise ConfigError('expected the folder of a dataset or an experiment, got neither')
        return DataChoice(_read_stored_data(stored['data']), splits)
    folder = Path(args.source).expanduser()
    is_remote = '://' in args.source
    # pathlib raises for a path that may not be read
    if not (os.path.isdir(folder) or is_remote or args.format):  # noqa: PTH112
        if args.source not in shipped_experiments() and not os.path.exists(folder):  # noqa: PTH110
            raise ConfigError(
                f'no such folder or experiment {args.source[:200]!r}; '
                f'{did_you_mean(args.source, shipped_experiments())}'
            )
        experiment = load_experiment(args.source, args.overrides)
        return DataChoice(experiment.data, splits, experiment)
    if args.overrides:
        raise ConfigError(
            f'{args.overrides[0]!r} changes an experiment, but {args.source} is a folder'
        )
    if is_remote:
        return DataChoice(DataConfig(format='shards', root=args.source), splits)
    data_format: Format = args.format or guess_format(folder)
    available = splits or tuple(list_splits(folder, data_format))
    if not available:
        raise DatasetError(folder, 'has no list of a split; name one with --split')
    train = 'train' if 'train' in available else ''
    val = next((name for name in ('val', *available) if name in available and name != train), '')
    config = DataConfig(format=data_format, root=str(folder), train_split=train, val_split=val)
    return DataChoice(config, available if all_splits else splits)


def read_choice(
    choice: DataChoice, roles: Sequence[str] = ('train', 'val')
) -> tuple[tuple[str, ...], dict[str, list[Sample]]]:
    """
    Read the chosen datasets.

    With several datasets, names of samples begin with the index of theirs, as in training.

    :param roles: which of ``train`` and ``val`` to read, where the choice names no splits.
    :return: class names in the order of their labels; samples by split or role.
    """
    class_names = choice.config.classes or read_splits(choice.config).class_names
    samples: dict[str, list[Sample]] = {}
    for index, source in enumerate(choice.sources):
        prefix = f'{index}/' if choice.config.extra_sources else ''
        splits = {split: split for split in choice.splits}
        for split, key in (splits or {getattr(source, f'{r}_split'): r for r in roles}).items():
            split_samples = read_samples(source, split, class_names) if split else []
            samples.setdefault(key, []).extend(
                replace(sample, name=prefix + sample.name) for sample in split_samples
            )
    return class_names, samples


def _read_stored_data(plain: Any) -> DataConfig:
    try:
        return DataConfig.model_validate(expand_stored({'data': plain}, os.environ)['data'])
    except ConfigError as error:
        raise ConfigError(
            f'in the checkpoint: {error}; name a dataset or an experiment instead'
        ) from error
    except ValueError as error:
        reason = textwrap.shorten(str(error), 200)
        raise ConfigError(
            f'the data section in the checkpoint: {reason}; name a folder instead'
        ) from error
