"""``mnssd find-lr``: find a learning rate by the range test, and plot it."""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
import sys

from mnssd_training.cli.common import command, write_image
from mnssd_training.cli.data_arguments import add_experiment, read_experiment
from mnssd_training.train.find_lr import lr_range_test, plot_lr_range_test

MAX_ROWS = 12


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """
    Raise the learning rate from step to step to see where the loss falls most steeply.

    It also shows where the loss diverges (learning rate range test, Smith, 2017).
    """
    parser = ArgumentParser('mnssd find-lr', description=main.__doc__)
    add_experiment(parser)
    parser.add_argument(
        '--lowest', type=float, default=1e-6, help='first learning rate (default: 1e-6)'
    )
    parser.add_argument(
        '--highest', type=float, default=1.0, help='last learning rate (default: 1)'
    )
    parser.add_argument('--steps', type=int, default=100, help='number of steps (default: 100)')
    parser.add_argument(
        '--output',
        type=Path,
        default=Path('learning_rate.png'),
        help='plot to write (default: learning_rate.png)',
    )
    parser.add_argument('--quiet', action='store_true', help='show no progress bar')
    args = parser.parse_intermixed_args(arguments)
    test = lr_range_test(
        read_experiment(args),
        min_lr=args.lowest,
        max_lr=args.highest,
        num_steps=args.steps,
        progress=not args.quiet,
    )
    print(f'{"lr":>10}{"loss":>10}{"smoothed":>10}')
    rows = list(zip(test.rates, test.losses, test.smoothed))
    for rate, loss, smoothed in rows[:: max(1, len(rows) // MAX_ROWS)]:
        print(f'{rate:>10.2e}{loss:>10.4f}{smoothed:>10.4f}')
    write_image(args.output, plot_lr_range_test(test))
    if test.is_flat:
        print(
            'warning: the loss hardly falls at any learning rate, so the suggestion means little; '
            'try more --steps, a larger training.batch_size, and look at the data '
            '(mnssd dataset preview --augmented --matched)',
            file=sys.stderr,
        )
    print(f'the loss falls most steeply at {test.suggestion:.2e}; plot: {args.output}')
    print(f'to use it: optimizer.learning_rate={test.suggestion:.1e}')
