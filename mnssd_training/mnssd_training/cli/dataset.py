"""``dataset``: what is in a dataset, what is wrong with it, and what it looks like."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter, REMAINDER
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
import json
from pathlib import Path
import sys

from mnssd_training.cli.common import run_verb, write_file, write_image
from mnssd_training.cli.data_arguments import add_data_arguments, choose_data, read_choice
from mnssd_training.errors import ConfigError, DatasetError
from mnssd_training.inspection import check, check_json, check_text
from mnssd_training.inspection.image_facts import ImageFacts
from mnssd_training.inspection.preview import (
    choose_indices,
    draw_network_sample,
    draw_sample,
    make_network_sample,
)
from mnssd_training.inspection.stats import measure_split, stats_page, stats_text
from mnssd_training.priors import make_spec
from mnssd_training.reporting import drawing, page
import numpy as np
from tqdm import tqdm

EPILOG = """\
examples:
  mnssd dataset check DATA/hit_uav
  mnssd dataset check hit_uav data.root=DATA/hit_uav --json faults.json
  mnssd dataset stats hit_uav data.root=DATA/hit_uav --html hit_uav.html
  mnssd dataset preview DATA/aerial_cars --split val --class bus --output buses.jpg
  mnssd dataset preview hit_uav data.root=DATA/hit_uav --augmented --matched --output augmented.png
"""


def _verb(arguments: Sequence[str] | None) -> None:
    """Parse and run one of the three."""
    parser = ArgumentParser(
        'mnssd dataset',
        description='Look into a dataset. Each of the three tells more with --help.',
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument('verb', choices=('check', 'stats', 'preview'))
    parser.add_argument('rest', nargs=REMAINDER, help='what the verb needs')
    chosen = parser.parse_args(arguments)
    add, run = {
        'check': (_add_check, _check),
        'stats': (_add_stats, _stats),
        'preview': (_add_preview, _preview),
    }[chosen.verb]
    own = ArgumentParser(f'mnssd dataset {chosen.verb}', description=run.__doc__)
    add_data_arguments(own)
    add(own)
    run(own.parse_intermixed_args(chosen.rest))


def _add_check(parser: ArgumentParser) -> None:
    """Add the arguments of ``check``."""
    parser.add_argument('--strict', action='store_true', help='warnings are errors, too')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all findings there')
    parser.add_argument(
        '--shown', type=int, default=5, help='findings named of each kind; 0 for all (default: 5)'
    )
    parser.add_argument('--workers', type=int, default=2, help='processes (default: 2)')
    parser.add_argument('--quiet', action='store_true', help='no progress bar')


def _check(args: Namespace) -> None:
    """Find everything that is wrong with a dataset; exit with 1 if there is an error."""
    choice = choose_data(args, all_splits=True)

    def progress(facts: Iterator[ImageFacts], total: int) -> Iterable[ImageFacts]:
        return tqdm(facts, 'images', total, disable=args.quiet or None, leave=False)

    result = check(
        choice.sources,
        choice.splits,
        choice.config.classes,
        choice.experiment,
        args.workers,
        progress,
    )
    print(check_text(result, Path(choice.config.root).expanduser(), args.shown))
    if args.json:
        write_file(args.json, json.dumps(check_json(result), indent=1))
    num = result.count('error') + (result.count('warning') if args.strict else 0)
    if num:
        raise DatasetError(choice.config.root, f'found {num} problems')


def _add_stats(parser: ArgumentParser) -> None:
    """Add the arguments of ``stats``."""
    parser.add_argument('--html', type=Path, metavar='FILE', help='write a page with diagrams')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all figures there')


def _stats(args: Namespace) -> None:
    """Count and measure what is in a dataset."""
    choice = choose_data(args, all_splits=True)
    class_names, samples = read_choice(choice)
    network = choice.experiment.input if choice.experiment else None
    stats = {
        split: measure_split(own, class_names, network.size, network.resize)
        if network
        else measure_split(own, class_names)
        for split, own in samples.items()
    }
    print(stats_text(stats))
    if args.html:
        write_file(args.html, stats_page(args.source, stats))
    if args.json:
        plain = {split: asdict(figures) for split, figures in stats.items()}
        write_file(args.json, json.dumps(plain, indent=1))


def _add_preview(parser: ArgumentParser) -> None:
    """Add the arguments of ``preview``."""
    parser.add_argument(
        '--output', type=Path, default=Path('preview.jpg'), help='.jpg, .png or .html'
    )
    parser.add_argument('--num', type=int, default=12, help='images (default: 12)')
    parser.add_argument('--seed', type=int, default=0, help='of the choice (default: 0)')
    parser.add_argument(
        '--class', dest='classes', action='append', default=[], help='must be shown; repeatable'
    )
    parser.add_argument('--augmented', action='store_true', help='as the network sees it')
    parser.add_argument('--epoch', type=int, default=0, help='of the training (default: 0)')
    parser.add_argument('--matched', action='store_true', help='priors that answer for objects')
    parser.add_argument('--columns', type=int, default=3, help='a row (default: 3)')
    parser.add_argument(
        '--width', type=int, default=560, help='of an image, pixels (default: 560)'
    )


def _preview(args: Namespace) -> None:
    """Draw some of a dataset with boxes, as it is or as the network sees it."""
    choice = choose_data(args, all_splits=True)
    class_names, samples = read_choice(choice)
    unknown = [name for name in args.classes if name not in class_names]
    if unknown:
        raise ConfigError(f'--class: expected one of {", ".join(class_names)}, got {unknown[0]!r}')
    split = choice.splits[0] if choice.splits else 'train'
    own = samples.get(split) or next(iter(samples.values()))
    labels = [class_names.index(name) for name in args.classes]
    chosen = choose_indices(own, args.num, labels, np.random.default_rng(args.seed))
    if not (args.augmented or args.matched):
        tiles = [draw_sample(own[index], args.width) for index in chosen]
    elif choice.experiment is None:
        raise ConfigError('--augmented and --matched need an experiment, not a folder')
    else:
        experiment = choice.experiment
        spec = make_spec(experiment, samples.get('train', own), class_names)
        tiles = []
        for index in chosen:
            sample = make_network_sample(own, index, spec, experiment, args.epoch, args.augmented)
            name = own[index].name
            tiles.append(
                draw_network_sample(name, sample, spec, experiment, args.matched, args.width)
            )
    _write_tiles(args.output, args.source, tiles, class_names, args.columns)


def _write_tiles(
    path: Path, title: str, tiles: Sequence[drawing.Tile], class_names: Sequence[str], columns: int
) -> None:
    """Write images as a sheet or as a page."""
    if path.suffix == '.html':
        colours = dict(drawing.class_legend(class_names))
        write_file(path, page.render_page('images', title=title, tiles=tiles, colours=colours))
    else:
        write_image(path, drawing.contact_sheet(tiles, columns, drawing.class_legend(class_names)))
    print(f'{len(tiles)} images: {path}')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
