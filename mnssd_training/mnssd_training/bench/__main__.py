"""``mnssd bench [NAME ...]``: print the figures that docs quote."""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
import sys

from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.errors import MnssdError
from mnssd_training.bench.engine import bench_engine
from mnssd_training.bench.loading import bench_loading
from mnssd_training.bench.postprocess import bench_postprocess
from mnssd_training.bench.preprocessing import bench_preprocessing


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that are named, or all."""
    parser = ArgumentParser('mnssd bench', description='Measure speed beside peers.')
    parser.add_argument(
        'which', nargs='*', metavar='postprocess|engine|preprocessing|loading', help='default: all'
    )
    parser.add_argument('--rounds', type=int, default=200)
    parser.add_argument('--bundle', type=Path, help='default: the one that comes with mnssd')
    parser.add_argument(
        '--data',
        type=Path,
        help='images to load and score, in the layout of VOC (loading: or those of the demo)',
    )
    parser.add_argument('--workers', type=int, default=0, help='processes that load images')
    args = parser.parse_args(arguments)
    known = {
        'postprocess': lambda: bench_postprocess(args.rounds),
        'engine': lambda: bench_engine(
            open_bundle(args.bundle or shipped_bundle_path()), max(1, args.rounds // 4)
        ),
        'preprocessing': lambda: bench_preprocessing(
            open_bundle(args.bundle or shipped_bundle_path()), args.data, max(1, args.rounds // 10)
        ),
        'loading': lambda: bench_loading(args.data, max(1, args.rounds // 40), args.workers),
    }
    if unknown := [name for name in args.which if name not in known]:
        parser.error(f'no benchmark {unknown[0]!r}; known are {", ".join(known)}')
    try:
        for name in args.which or known:
            known[name]()
    except MnssdError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
