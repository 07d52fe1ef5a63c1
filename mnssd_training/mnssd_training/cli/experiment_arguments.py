"""Arguments of the command line to the experiment that they mean."""

from argparse import ArgumentParser, Namespace

from mnssd_training.config import Experiment, load_experiment, shipped_experiments


def add_experiment(parser: ArgumentParser) -> None:
    """
    Let a verb name an experiment and change it; its arguments may be intermixed.

    :param parser: gets ``experiment`` and ``overrides``.
    """
    parser.add_argument(
        'experiment', help=f'a YAML file, or one of: {", ".join(shipped_experiments())}'
    )
    parser.add_argument(
        'overrides', nargs='*', metavar='key.path=value', help='changes to the experiment'
    )


def read_experiment(args: Namespace) -> Experiment:
    """
    Read the experiment that is named.

    :param args: with the arguments of :func:`add_experiment`.
    :return: the experiment.
    :raises ConfigError: naming the file or the key.
    """
    return load_experiment(args.experiment, args.overrides)
