"""``find-lr``: an experiment to a learning rate and a plot."""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
import sys

import cv2
from mnssd_training.cli.verb import run_verb
from mnssd_training.config import load_experiment, shipped_experiments
from mnssd_training.errors import TrainingError
from mnssd_training.train.find_rate import find_rate, RangeTest
from mnssd_training.train.plot import plot

ROWS = 12


def _verb(arguments: Sequence[str] | None) -> None:
    """Parse, test and plot."""
    parser = ArgumentParser(
        'find-lr',
        description='Raise the learning rate from step to step and see where the loss falls '
        'fastest and where it diverges (Smith, 2017).',
    )
    parser.add_argument(
        'experiment', help=f'a YAML file, or one of: {", ".join(shipped_experiments())}'
    )
    parser.add_argument(
        'overrides', nargs='*', metavar='key.path=value', help='changes to the experiment'
    )
    parser.add_argument('--lowest', type=float, default=1e-6, help='first rate (default: 1e-6)')
    parser.add_argument('--highest', type=float, default=1.0, help='last rate (default: 1)')
    parser.add_argument('--steps', type=int, default=100, help='between them (default: 100)')
    parser.add_argument('--output', type=Path, default=Path('learning_rate.png'), help='the plot')
    parser.add_argument('--quiet', action='store_true', help='no progress bar')
    args = parser.parse_intermixed_args(arguments)
    experiment = load_experiment(args.experiment, args.overrides)
    test = find_rate(
        experiment,
        lowest=args.lowest,
        highest=args.highest,
        num_steps=args.steps,
        progress=not args.quiet,
    )
    print(f'{"rate":>10}{"loss":>10}{"smoothed":>10}')
    for index in range(0, len(test.rates), max(1, len(test.rates) // ROWS)):
        print(f'{test.rates[index]:>10.2e}{test.losses[index]:>10.4f}{test.smooth[index]:>10.4f}')
    _save(args.output, test)
    print(f'the loss falls fastest at {test.suggestion:.2e}; plot: {args.output}')
    print(f'use it by optimizer.learning_rate={test.suggestion:.1e}')


def _save(path: Path, test: RangeTest) -> None:
    """Write the plot."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_written = cv2.imwrite(str(path), plot(test)[..., ::-1])
    except (OSError, cv2.error) as error:  # no such folder, or no such format
        raise TrainingError(f'{path}: cannot be written: {error}') from error
    if not is_written:
        raise TrainingError(f'{path}: cannot be written')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
