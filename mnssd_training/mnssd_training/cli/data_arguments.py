"""Arguments of the command line to the datasets that they mean."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
import os
from pathlib import Path
import textwrap
from typing import Any, get_args

from mnssd_training.config import DataConfig, expand_stored, load_experiment, SourceConfig
from mnssd_training.data import read_samples, Sample
from mnssd_training.data.formats import guess_format
from mnssd_training.errors import ConfigError

FORMATS = get_args(SourceConfig.model_fields['format'].annotation)


def add_data_arguments(parser: ArgumentParser) -> None:
    """
    Declare where the images come from.

    :param parser: gets ``data``, ``--format``, ``--rename`` and ``--experiment``.
    """
    parser.add_argument(
        'data',
        nargs='?',
        help='folder of the dataset; without it, the data that a checkpoint was trained on',
    )
    parser.add_argument(
        '--format', choices=FORMATS, help='of the dataset (default: what its folders look like)'
    )
    parser.add_argument(
        '--rename',
        action='append',
        default=[],
        metavar='A=B',
        help='class A of the dataset is class B of the model; nothing after the = ignores it',
    )
    parser.add_argument(
        '--experiment',
        nargs='+',
        metavar=('FILE', 'key.path=value'),
        help='take the data section of an experiment instead of a folder',
    )


def choose_data(
    args: Namespace, stored: Mapping[str, Any], class_names: Sequence[str]
) -> DataConfig:
    """
    Find out which datasets are meant.

    :param args: of the command line, see :func:`add_data_arguments`.
    :param stored: experiment of the checkpoint as plain data; empty for none.
    :param class_names: of the model; labels are counted in their order.
    :return: the data section.
    :raises ConfigError: if none is named, or two are.
    """
    if args.data and args.experiment:
        raise ConfigError('expected a folder or --experiment, got both')
    if args.experiment:
        file, *overrides = args.experiment
        config = load_experiment(file, overrides).data
    elif args.data:
        config = DataConfig(format=args.format or _format(args.data), root=args.data)
    elif 'data' in stored:
        config = _stored(stored['data'])
    else:
        raise ConfigError('expected the folder of a dataset, or --experiment; got neither')
    changes = {
        'classes': tuple(class_names),
        'class_map': config.class_map | _renames(args.rename),
    }
    return config.model_copy(update=changes)


def read_to_score(
    config: DataConfig, class_names: Sequence[str], split: str | None = None
) -> list[Sample]:
    """
    Read the images to score on.

    With several datasets, names of samples begin with the number of theirs.

    :param config: which datasets.
    :param class_names: of the model.
    :param split: list to read in place of the validation lists.
    :return: the images.
    """
    samples: list[Sample] = []
    for number, source in enumerate((config, *config.extra_sources)):
        name = split or source.val_split
        if not name:
            continue
        prefix = f'{number}/' if config.extra_sources else ''
        samples += [
            replace(sample, name=prefix + sample.name)
            for sample in read_samples(source, name, class_names)
        ]
    return samples


def _format(root: str) -> Any:
    """Tell the format of a folder; behind an address there can only be shards."""
    return 'shards' if '://' in root else guess_format(Path(root))


def _renames(pairs: Sequence[str]) -> dict[str, str]:
    """Read ``A=B``."""
    renames = {}
    for pair in pairs:
        old, separator, new = pair.partition('=')
        if not (separator and old):
            raise ConfigError(f'--rename: expected A=B, got {pair!r}')
        renames[old.strip()] = new.strip()
    return renames


def _stored(plain: Any) -> DataConfig:
    """Read the data section of a checkpoint."""
    try:
        return DataConfig.model_validate(expand_stored({'data': plain}, os.environ)['data'])
    except ConfigError as error:
        raise ConfigError(
            f'in the checkpoint: {error}; name the dataset or --experiment instead'
        ) from error
    except ValueError as error:
        words = textwrap.shorten(str(error), 200)
        raise ConfigError(
            f'the data section in the checkpoint: {words}; name a folder instead'
        ) from error
