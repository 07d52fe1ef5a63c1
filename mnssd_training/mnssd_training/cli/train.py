"""``mnssd train``: train a network."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
import json
import os
from pathlib import Path
import sys

from mnssd_training.cli.common import command, make_parser
from mnssd_training.cli.data_arguments import add_experiment, read_experiment
from mnssd_training.config import Experiment, to_stored
import yaml

EXAMPLES = """\
  mnssd train hit_uav data.root=DATA/hit_uav initial.backbone_weights=mobilenet_v2.pth
  mnssd train smoke data.root=DATA/hit_uav --run runs/smoke
  mnssd train smoke data.root=DATA/hit_uav --run runs/smoke --resume
  mnssd train hit_uav data.root=DATA/hit_uav --dry-run
  mnssd train hit_uav data.root=DATA/hit_uav --teacher large.pt distillation.feature_weight=1
  torchrun --nproc-per-node 4 -m mnssd_training train hit_uav data.root=DATA/hit_uav --resume
"""


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Train a MobileNetV2-SSD."""
    parser = make_parser('train', main.__doc__, EXAMPLES)
    add_experiment(parser)
    parser.add_argument(
        '--run',
        '--run-folder',
        type=Path,
        help='run folder (default: runs/<id>_<fingerprint>); torchrun has a --run option of its '
        'own, so write --run-folder there',
    )
    parser.add_argument(
        '--teacher',
        action='append',
        default=[],
        metavar='CHECKPOINT',
        help='checkpoint (.pt, also s3://) or bundle to learn from, see the section distillation; '
        'may be repeated',
    )
    add_run_options(parser)
    args = parser.parse_intermixed_args(arguments)
    # argparse takes the next argument as the value of --resume, even if it is an override.
    # pathlib raises for a text longer than a file name can be.
    value = args.resume if isinstance(args.resume, str) else ''
    if '=' in value and '://' not in value and not os.path.exists(value):  # noqa: PTH110
        args.overrides.append(value)
        args.resume = True
    if args.teacher:
        args.overrides.append(f'distillation.teachers={json.dumps(args.teacher)}')
    experiment = read_experiment(args)
    config_yaml = yaml.safe_dump(to_stored(experiment), sort_keys=False)
    run_training(experiment, args, args.run, config_yaml, arguments)


def add_run_options(parser: ArgumentParser) -> None:
    """Add the options that all commands that train have: resume, quiet, print and dry run."""
    parser.add_argument(
        '--resume',
        nargs='?',
        const=True,
        metavar='CHECKPOINT',
        help='resume from the newest checkpoint of the run, if any; '
        'or from this checkpoint, a path or s3:// URL',
    )
    parser.add_argument('--quiet', action='store_true', help='print no progress and no messages')
    parser.add_argument(
        '--print-config', action='store_true', help='print the resolved experiment and exit'
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='build everything, compute one batch and exit'
    )


def run_training(
    experiment: Experiment,
    args: Namespace,
    run: Path | None,
    config_yaml: str,
    arguments: Sequence[str] | None,
) -> None:
    """
    Train, or do a dry run or print the experiment; a signal stops a run after the current step.

    :param args: with the options of :func:`add_run_options`.
    :param run: run folder; None for ``<logging.root>/<id>_<fingerprint>``.
    :param config_yaml: for ``--print-config``.
    :param arguments: to record; None for those of the process.
    """
    if args.print_config:
        print(config_yaml, end='')
        return
    # torch takes seconds: after parsing
    from mnssd_training.train import default_folder, handle_signals, is_rank_zero, train
    from mnssd_training.train.dry_run import dry_run

    if args.dry_run:
        for line in dry_run(experiment):
            if is_rank_zero():
                print(line)
        return
    run = run or default_folder(experiment)
    with handle_signals() as stop:
        last = train(
            experiment,
            run,
            resume=args.resume or False,
            progress=not args.quiet,
            stop=stop,
            arguments=list(sys.argv[1:] if arguments is None else arguments),
        )
    if is_rank_zero():
        score = f'; mean AP@0.5 {last.metrics["map50"]:.4f}' if last.metrics else ''
        print(f'trained {last.step} steps{score}')
        print(f'run: {run}')
