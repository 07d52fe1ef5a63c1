"""``train``: an experiment to a run folder with checkpoints."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
import sys

from mnssd_training.cli.verb import run_verb
from mnssd_training.config import load_experiment, shipped_experiments
from mnssd_training.train import interruptible, train

EPILOG = """\
examples:
  train hit_uav data.root=DATA/hit_uav backbone_weights=mobilenet_v2.pth --run runs/hit_uav
  train smoke data.root=DATA/hit_uav --run runs/smoke
  train hit_uav --run runs/hit_uav --resume
"""


def _verb(arguments: Sequence[str] | None) -> None:
    """Parse and train."""
    parser = ArgumentParser(
        'train',
        description='Train a MobileNetV2-SSD.',
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'experiment', help=f'a YAML file, or one of: {", ".join(shipped_experiments())}'
    )
    parser.add_argument(
        'overrides', nargs='*', metavar='key.path=value', help='changes to the experiment'
    )
    parser.add_argument('--run', type=Path, required=True, help='folder for checkpoints and logs')
    parser.add_argument('--resume', action='store_true', help='go on where the run stopped')
    parser.add_argument('--quiet', action='store_true', help='no progress bars')
    args = parser.parse_intermixed_args(arguments)
    experiment = load_experiment(args.experiment, args.overrides)
    with interruptible() as stop:
        last = train(experiment, args.run, resume=args.resume, progress=not args.quiet, stop=stop)
    print(f'trained {last.step} steps; mean AP@0.5 {last.metrics.get("map50", 0.0):.4f}')
    print(f'checkpoints: {args.run}/last.pt and {args.run}/best.pt')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
