"""``find-batch-size``: an experiment to the batch size that suits this machine."""

from argparse import ArgumentParser
from collections.abc import Sequence
import sys

from mnssd_training.cli.common import run_verb
from mnssd_training.cli.data_arguments import add_experiment, read_experiment
from mnssd_training.errors import TrainingError
from mnssd_training.train.find_batch import measure_batches, Measured, suggest

MEBI = 2**20


def _verb(arguments: Sequence[str] | None) -> None:
    """Parse and measure."""
    parser = ArgumentParser(
        'mnssd find-batch-size',
        description='Double the batch until memory is full; show the speed and memory of each.',
    )
    add_experiment(parser)
    parser.add_argument('--limit', type=int, default=256, help='largest batch (default: 256)')
    args = parser.parse_intermixed_args(arguments)
    if args.limit < 1:
        raise TrainingError(f'--limit: expected at least 1, got {args.limit}')
    measured: list[Measured] = []
    for one in measure_batches(read_experiment(args), args.limit):
        if not measured:
            print(f'{"batch":>6}{"images/s":>10}{"MiB":>8}')
        measured.append(one)
        print(f'{one.batch_size:>6}{one.images_per_second:>10.1f}{one.memory / MEBI:>8.0f}')
    if not measured:
        raise TrainingError('memory is full with one image; choose a smaller input.size')
    print(f'largest that fits: {measured[-1].batch_size}')
    print(f'smallest that is nearly as fast as any: training.batch_size={suggest(measured)}')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
