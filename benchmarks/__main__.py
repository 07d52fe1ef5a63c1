"""``python -m benchmarks [NAME ...]``: print the figures that the documentation quotes."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
import sys

from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.errors import MnssdError

from benchmarks.engine import bench_engine
from benchmarks.loading import bench_loading
from benchmarks.postprocess import bench_postprocess
from benchmarks.preprocessing import bench_preprocessing


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benchmarks, or all of them."""
    names = ('postprocess', 'engine', 'preprocessing', 'loading')
    parser = ArgumentParser('benchmarks', description='Measure speed beside peers.')
    parser.add_argument('names', nargs='*', metavar='|'.join(names), help='default: all')
    parser.add_argument('--rounds', type=int, default=200)
    parser.add_argument('--bundle', type=Path, help='default: the shipped bundle')
    parser.add_argument(
        '--data',
        type=Path,
        help='dataset in VOC layout to load and to score (loading: default the demo images)',
    )
    parser.add_argument(
        '--onnx',
        type=_onnx_file,
        action='append',
        default=[],
        metavar='NAME=FILE',
        help='a network of others to time beside the bundle (engine); may be repeated',
    )
    parser.add_argument(
        '--threads', type=int, nargs='+', default=[1, 2], help='of each inference (engine)'
    )
    parser.add_argument('--workers', type=int, default=0, help='processes that load images')
    args = parser.parse_args(arguments)
    if unknown := [name for name in args.names if name not in names]:
        parser.error(f'expected a benchmark of {", ".join(names)}, got {unknown[0]!r}')
    bundle_path = args.bundle or shipped_bundle_path()
    benchmarks = {
        'postprocess': lambda: bench_postprocess(args.rounds),
        'engine': lambda: bench_engine(
            open_bundle(bundle_path), max(1, args.rounds // 4), args.threads, dict(args.onnx)
        ),
        'preprocessing': lambda: bench_preprocessing(
            open_bundle(bundle_path), args.data, max(1, args.rounds // 10)
        ),
        'loading': lambda: bench_loading(args.data, max(1, args.rounds // 40), args.workers),
    }
    try:
        for name in args.names or names:
            benchmarks[name]()
    except MnssdError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


def _onnx_file(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition('=')
    if not (name and equals and Path(path).is_file()):
        raise ArgumentTypeError(f'expected NAME=FILE with a file that exists, got {text!r}')
    return name, Path(path)


if __name__ == '__main__':
    sys.exit(main())
