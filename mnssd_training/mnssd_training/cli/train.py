"""``mnssd train``: train a network."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
import os
from pathlib import Path
import sys

from mnssd_training.cli.experiment_arguments import add_experiment, read_experiment
from mnssd_training.cli.verb import run_verb
from mnssd_training.config import Experiment, to_stored
import yaml

EPILOG = """\
examples:
  mnssd train hit_uav data.root=DATA/hit_uav initial.backbone_weights=mobilenet_v2.pth
  mnssd train smoke data.root=DATA/hit_uav --run runs/smoke
  mnssd train smoke data.root=DATA/hit_uav --run runs/smoke --resume
  mnssd train hit_uav data.root=DATA/hit_uav --dry-run
  torchrun --nproc-per-node 4 -m mnssd_training train hit_uav data.root=DATA/hit_uav --resume
"""


def _verb(arguments: Sequence[str] | None) -> None:
    parser = ArgumentParser(
        'mnssd train',
        description='Train a MobileNetV2-SSD.',
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_experiment(parser)
    parser.add_argument(
        '--run',
        '--run-folder',
        type=Path,
        help='run folder (default: runs/<id>_<fingerprint>); torchrun has a --run option of its '
        'own, so write --run-folder there',
    )
    add_run_options(parser)
    args = parser.parse_intermixed_args(arguments)
    if args.resume and args.resume is not True and _is_override(args.resume):
        args.overrides.append(args.resume)  # argparse took the next argument as the value
        args.resume = True
    experiment = read_experiment(args)
    if args.print_config:
        print(yaml.safe_dump(to_stored(experiment), sort_keys=False), end='')
    elif args.dry_run:
        print_dry_run(experiment)
    else:
        run_training(
            experiment,
            run=args.run,
            resume=args.resume,
            progress=not args.quiet,
            arguments=list(sys.argv[1:] if arguments is None else arguments),
        )


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


def print_dry_run(experiment: Experiment) -> None:
    """Print what a run would do, on rank 0."""
    from mnssd_training.train import is_rank_zero  # torch takes seconds: after parsing
    from mnssd_training.train.dry_run import dry_run

    for line in dry_run(experiment):
        if is_rank_zero():
            print(line)


def run_training(
    experiment: Experiment,
    *,
    run: Path | None = None,
    resume: bool | str | None = None,
    progress: bool = True,
    arguments: Sequence[str] = (),
) -> None:
    """
    Train; a signal stops the run after the current step.

    :param run: run folder; None for ``<logging.root>/<id>_<fingerprint>``.
    :raises MnssdError: naming the invalid file, key or images.
    :raises Preempted: after a signal.
    """
    from mnssd_training.train import default_folder, handle_signals, is_rank_zero, train

    run = run or default_folder(experiment)
    with handle_signals() as stop:
        last = train(
            experiment,
            run,
            resume=resume or False,
            progress=progress,
            stop=stop,
            arguments=arguments,
        )
    if is_rank_zero():
        score = f'; mean AP@0.5 {last.metrics["map50"]:.4f}' if last.metrics else ''
        print(f'trained {last.step} steps{score}')
        print(f'run: {run}')


def _is_override(text: str) -> bool:
    """Tell an override of the experiment from the path of a checkpoint."""
    # pathlib raises for a text longer than a file name can be
    return '=' in text and '://' not in text and not os.path.exists(text)  # noqa: PTH110


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
