"""Measure how fast the networks of a bundle run on this machine, or compare two measurements."""

from argparse import Namespace
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
import sys

from mnssd_perception.benchmark import (
    BenchmarkOptions,
    compare_reports,
    find_candidates,
    format_report,
    open_subjects,
    plot_report,
    read_report,
    Report,
    run_benchmark,
    write_report,
)
from mnssd_perception.bundle import Bundle, open_bundle, PRECISIONS, shipped_bundle_path
from mnssd_perception.commands import command, make_parser, positive_int, write_text
from mnssd_perception.encodings import array_to_rgb
from mnssd_perception.engines import EngineOptions
from mnssd_perception.errors import EngineError, SettingsError
from mnssd_perception.image_file import decode_image
from mnssd_perception.sources import open_source
import numpy as np
from numpy.typing import NDArray

MAX_IMAGES = 32  # that are kept in memory; further ones are not read

EXAMPLES = """\
  mnssd benchmark                                     the bundle that comes with mnssd
  mnssd benchmark hit_uav-1.0.0.mnssd --all --threads 1 2 --json here.json --plot here.svg
  mnssd benchmark hit_uav-1.0.0.mnssd --engine openvino --precision int8 --images flight.mp4
  mnssd benchmark --compare pc.json drone.json"""


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``mnssd benchmark`` with the given arguments."""
    parser = make_parser('benchmark', __doc__, EXAMPLES)
    add = parser.add_argument
    add('bundle', type=Path, nargs='?', help='default: the shipped one')
    add('--engine', default='auto', help='default: the one that the node would choose')
    add('--precision', default='', choices=PRECISIONS, help='default: the fastest')
    add('--all', action='store_true', help='every network that can run here')
    add('--threads', type=positive_int, nargs='+', default=[0], metavar='N',
        help='CPU threads; each number is a run; default: the engine chooses')  # fmt: skip
    defaults = BenchmarkOptions()
    add('--batch', type=positive_int, default=defaults.batch, help='images at once')
    add('--frames', type=positive_int, default=defaults.num_frames, help='per run')
    add('--warmup', type=positive_int, default=defaults.num_warm_up, help='frames before them')
    add('--images', default='', help='a folder, an image, a video or a camera, of which the first '
        f'{MAX_IMAGES} frames are used; default: the golden frames of the bundle')  # fmt: skip
    add('--cache', type=Path, help='folder for what engines build')
    add('--json', type=Path, metavar='FILE', help='write the report, for --compare')
    add('--plot', type=Path, metavar='FILE', help='draw the report as SVG')
    add('--compare', type=Path, nargs=2, metavar=('A', 'B'), help='compare two reports, and stop')
    options = parser.parse_args(arguments)
    if options.compare:
        print(compare_reports(*map(read_report, options.compare)))
        return
    for path in (options.json, options.plot):
        if path and not path.parent.is_dir():  # before minutes of work
            raise SettingsError(f"'{path}' cannot be written: there is no such folder")
    report = _measure(options)
    print(format_report(report))
    if options.json:
        write_report(options.json, report)
    if options.plot:
        write_text(options.plot, plot_report(report))


def _measure(options: Namespace) -> Report:
    settings = BenchmarkOptions(options.batch, options.frames, options.warmup)
    bundle = open_bundle(options.bundle or shipped_bundle_path())
    images, images_name = _read_images(bundle, options.images)
    candidates = find_candidates(
        bundle, options.engine, options.precision, batch=options.batch, tries_all=options.all
    )
    engine_options = EngineOptions(
        cache=options.cache, progress=lambda line: print(line, file=sys.stderr)
    )
    threads = list(dict.fromkeys(options.threads))
    subjects, problems = open_subjects(
        bundle, candidates, threads, images, settings, engine_options, tries_all=options.all
    )
    if not subjects:
        raise EngineError(f'no network can be measured here; {"; ".join(problems)}')
    return run_benchmark(
        bundle, subjects, images, settings, images_name=images_name, not_measured=problems
    )


def _read_images(bundle: Bundle, uri: str) -> tuple[list[NDArray[np.uint8]], str]:
    """Read the images to detect in, RGB; also what they are."""
    if uri:
        source = open_source(uri)
        try:
            images = [array_to_rgb(frame.image) for frame in islice(source, MAX_IMAGES)]
        finally:
            source.close()
        name = source.uri
        if not images:
            raise SettingsError(f"expected images, '{uri}' gave none")
    else:
        golden = bundle.manifest.golden
        images = [decode_image(bundle.read(frame.path), frame.path) for frame in golden]
        name = 'golden frames'
        if not images:
            raise SettingsError('the bundle has no golden frames; name images with --images')
    height, width, _ = images[0].shape
    return images, f'{len(images)} images of {width} x {height} ({name})'


if __name__ == '__main__':
    sys.exit(main())
