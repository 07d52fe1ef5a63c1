"""The command ``mnssd shard``: write the images of an experiment as WebDataset shards."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
import re
import sys

from mnssd_training.cli.common import run_verb
from mnssd_training.cli.data_arguments import add_experiment, read_experiment
from mnssd_training.data import read_splits
from mnssd_training.data.shard_writer import ShardLimit, write_shards
from mnssd_training.errors import ConfigError

EPILOG = """\
examples:
  mnssd shard smoke data.root=DATA/hit_uav --output shards/hit_uav
  mnssd shard smoke data.root=COCO data.format=coco --output shards/coco --shard-size 256MB
  mnssd train hit_uav data.format=shards data.root=shards/hit_uav
  mnssd train hit_uav data.format=shards data.root=s3://bucket/hit_uav data.cache_dir=/tmp/shards

The folder gets train-000000.tar and so on, train.index.json, and the same for val. Copy it to any
storage that fsspec supports, such as S3 or a web server with range requests.
"""
UNITS = {'KB': 1 << 10, 'MB': 1 << 20, 'GB': 1 << 30}


def _verb(arguments: Sequence[str] | None) -> None:
    parser = ArgumentParser(
        'mnssd shard',
        description='Write the images of an experiment as WebDataset shards.',
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_experiment(parser)
    parser.add_argument('--output', type=Path, required=True, help='folder for the shards')
    parser.add_argument(
        '--shard-size',
        default='512MB',
        help='size of a tar: a number of images, or bytes with KB, MB or GB (default: 512MB)',
    )
    args = parser.parse_intermixed_args(arguments)
    match = re.fullmatch(r'([1-9]\d{0,9})\s*(KB|MB|GB)?', args.shard_size.strip(), re.IGNORECASE)
    if not match:
        expected = "expected a number of images, or of bytes as in '256MB'"
        raise ConfigError(f'--shard-size: {expected}, got {args.shard_size!r}')
    number, unit = int(match[1]), match[2]
    limit = ShardLimit(number, sys.maxsize)
    if unit:
        limit = ShardLimit(sys.maxsize, number * UNITS[unit.upper()])
    splits = read_splits(read_experiment(args).data)
    for note in splits.notes:
        print(f'note: {note}', file=sys.stderr)
    for split, samples in (('train', splits.train), ('val', splits.val)):
        if samples:
            paths = write_shards(samples, splits.class_names, args.output, split, limit)
            print(f'{split}: {len(samples)} images in {len(paths) - 1} shards')
    print(f'shards: {args.output}; read them with data.format=shards data.root={args.output}')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
