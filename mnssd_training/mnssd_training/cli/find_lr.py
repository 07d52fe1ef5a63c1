"""``find-lr``: an experiment to a learning rate and a plot."""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
import sys

from mnssd_training.cli.common import run_verb, write_image
from mnssd_training.cli.data_arguments import add_experiment, read_experiment
from mnssd_training.train.find_rate import find_rate
from mnssd_training.train.plot import plot

ROWS = 12


def _verb(arguments: Sequence[str] | None) -> None:
    """Parse, test and plot."""
    parser = ArgumentParser(
        'mnssd find-lr',
        description='Raise the learning rate from step to step and see where the loss falls '
        'fastest and where it diverges (Smith, 2017).',
    )
    add_experiment(parser)
    parser.add_argument('--lowest', type=float, default=1e-6, help='first rate (default: 1e-6)')
    parser.add_argument('--highest', type=float, default=1.0, help='last rate (default: 1)')
    parser.add_argument('--steps', type=int, default=100, help='between them (default: 100)')
    parser.add_argument('--output', type=Path, default=Path('learning_rate.png'), help='the plot')
    parser.add_argument('--quiet', action='store_true', help='no progress bar')
    args = parser.parse_intermixed_args(arguments)
    experiment = read_experiment(args)
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
    write_image(args.output, plot(test))
    if test.is_flat:
        print(
            'warning: the loss hardly falls at any rate, so the suggestion means little; '
            'try more --steps, a larger training.batch_size, and look at the data '
            '(mnssd dataset preview --augmented --matched)',
            file=sys.stderr,
        )
    print(f'the loss falls fastest at {test.suggestion:.2e}; plot: {args.output}')
    print(f'use it by optimizer.learning_rate={test.suggestion:.1e}')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
