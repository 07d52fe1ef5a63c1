"""The command ``mnssd shard``: write the images of an experiment as WebDataset shards."""

from collections.abc import Sequence
from pathlib import Path
import re
import sys

from mnssd_training.cli.common import command, make_parser
from mnssd_training.cli.data_arguments import add_experiment, read_experiment
from mnssd_training.data import read_splits
from mnssd_training.data.shard_writer import ShardLimit, write_shards
from mnssd_training.errors import ConfigError

EXAMPLES = """\
  mnssd shard smoke data.root=DATA/hit_uav --output shards/hit_uav
  mnssd shard smoke data.root=COCO data.format=coco --output shards/coco --shard-size 256MB
  mnssd train hit_uav data.format=shards data.root=shards/hit_uav
  mnssd train hit_uav data.format=shards data.root=s3://bucket/hit_uav data.cache_dir=/tmp/shards

The folder gets train-000000.tar and so on, train.index.json, and the same for val. Copy it to any
storage that fsspec supports, such as S3 or a web server with range requests.
"""
UNITS = {'KB': 1 << 10, 'MB': 1 << 20, 'GB': 1 << 30}


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Write the images of an experiment as WebDataset shards."""
    parser = make_parser('shard', main.__doc__, EXAMPLES)
    add_experiment(parser)
    parser.add_argument('--output', type=Path, required=True, help='folder for the shards')
    parser.add_argument(
        '--shard-size',
        default='512MB',
        help='size of a tar: a number of images, or bytes with KB, MB or GB (default: 512MB)',
    )
    args = parser.parse_intermixed_args(arguments)
    limit = _parse_limit(args.shard_size)
    splits = read_splits(read_experiment(args).data)
    for note in splits.notes:
        print(f'note: {note}', file=sys.stderr)
    for split, samples in (('train', splits.train), ('val', splits.val)):
        if samples:
            paths = write_shards(samples, splits.class_names, args.output, split, limit)
            print(f'{split}: {len(samples)} images in {len(paths) - 1} shards')
    print(f'shards: {args.output}; read them with data.format=shards data.root={args.output}')


def _parse_limit(text: str) -> ShardLimit:
    match = re.fullmatch(r'([1-9]\d{0,9})\s*(KB|MB|GB)?', text.strip(), re.IGNORECASE)
    if not match:
        raise ConfigError(
            f"--shard-size: expected a number of images, or of bytes as in '256MB', got {text!r}"
        )
    number, unit = int(match[1]), match[2]
    if unit is None:
        return ShardLimit(images=number, size=sys.maxsize)
    return ShardLimit(images=sys.maxsize, size=number * UNITS[unit.upper()])
