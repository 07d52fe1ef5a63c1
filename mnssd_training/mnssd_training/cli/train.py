"""``train``: an experiment to a run folder with checkpoints."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
import os
from pathlib import Path
import sys

from mnssd_training.cli.common import run_verb
from mnssd_training.cli.data_arguments import add_experiment, read_experiment
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
    """Parse and train."""
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
        help='folder of the run (default: runs/<id>_<fingerprint>); '
        'torchrun takes --run for its own, so write --run-folder there',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const=True,
        default=None,
        metavar='CHECKPOINT',
        help='go on from the newest checkpoint of the run, or start it; '
        'or go on from this checkpoint, a path or s3://',
    )
    parser.add_argument('--quiet', action='store_true', help='no progress bars, no sentences')
    parser.add_argument(
        '--print-config', action='store_true', help='print the resolved experiment and stop'
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='build everything, look at one batch and stop'
    )
    args = parser.parse_intermixed_args(arguments)
    if args.resume and args.resume is not True and _is_override(args.resume):
        args.overrides.append(args.resume)  # argparse takes what follows --resume for its value
        args.resume = True
    experiment = read_experiment(args)
    if args.print_config:
        print(yaml.safe_dump(to_stored(experiment), sort_keys=False), end='')
    elif args.dry_run:
        dry_run(experiment)
    else:
        given = list(sys.argv[1:] if arguments is None else arguments)
        run_training(
            experiment, run=args.run, resume=args.resume, progress=not args.quiet, args=given
        )


def dry_run(experiment: Experiment) -> None:
    """
    Build everything, look at one batch, and say in the first process what a run would be.

    :param experiment: what would be trained.
    :raises MnssdError: naming the file or the key that is wrong.
    """
    from mnssd_training.train import is_rank_zero  # torch takes seconds: after parsing
    from mnssd_training.train.rehearsal import rehearse

    for line in rehearse(experiment):
        if is_rank_zero():
            print(line)


def run_training(
    experiment: Experiment,
    *,
    run: Path | None = None,
    resume: bool | str | None = None,
    progress: bool = True,
    args: Sequence[str] = (),
) -> None:
    """
    Train, and stop in order at a signal.

    :param experiment: what to train.
    :param run: folder of the run; None for ``<logging.root>/<id>_<fingerprint>``.
    :param resume: go on from the newest checkpoint of the run, or from this path or URL.
    :param progress: show progress bars and say how it goes.
    :param args: of the command line, to be written down.
    :raises MnssdError: naming the file, the key or the images that are wrong.
    :raises Preempted: after a signal.
    """
    from mnssd_training.train import default_folder, interruptible, is_rank_zero, train

    run = run or default_folder(experiment)
    with interruptible() as stop:
        last = train(
            experiment, run, resume=resume or False, progress=progress, stop=stop, arguments=args
        )
    if is_rank_zero():
        score = f'; mean AP@0.5 {last.metrics["map50"]:.4f}' if last.metrics else ''
        print(f'trained {last.step} steps{score}')
        print(f'run: {run}')


def _is_override(text: str) -> bool:
    """Tell a change to the experiment from the path of a checkpoint."""
    # pathlib raises for a text longer than a file name can be
    return '=' in text and '://' not in text and not os.path.exists(text)  # noqa: PTH110


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
