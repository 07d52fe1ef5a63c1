"""``mnssd find-batch-size``: find the batch size that suits this machine."""

from argparse import ArgumentParser
from collections.abc import Sequence

from mnssd_training.cli.common import command
from mnssd_training.cli.data_arguments import add_experiment, read_experiment
from mnssd_training.errors import TrainingError
from mnssd_training.train.find_batch_size import BatchCost, measure_batch_sizes, suggest_batch_size

MEBI = 2**20


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Double the batch size until memory is full; print speed and memory of each."""
    parser = ArgumentParser('mnssd find-batch-size', description=main.__doc__)
    add_experiment(parser)
    parser.add_argument('--limit', type=int, default=256, help='largest batch (default: 256)')
    args = parser.parse_intermixed_args(arguments)
    if args.limit < 1:
        raise TrainingError(f'--limit: expected at least 1, got {args.limit}')
    measured: list[BatchCost] = []
    for cost in measure_batch_sizes(read_experiment(args), args.limit):
        if not measured:
            print(f'{"batch":>6}{"images/s":>10}{"MiB":>8}')
        measured.append(cost)
        print(f'{cost.batch_size:>6}{cost.images_per_second:>10.1f}{cost.memory / MEBI:>8.0f}')
    if not measured:
        raise TrainingError('out of memory with one image; choose a smaller input.size')
    print(f'largest that fits: {measured[-1].batch_size}')
    print(f'smallest at nearly full speed: training.batch_size={suggest_batch_size(measured)}')
