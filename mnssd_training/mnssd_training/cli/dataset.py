"""``dataset``: check a dataset, measure it, and draw its images."""

from argparse import ArgumentParser, REMAINDER
from collections.abc import Sequence
from functools import partial
import json
from pathlib import Path

from mnssd_perception.overlay import class_colour
from mnssd_perception.serialization import to_plain
from mnssd_training.cli.common import command, make_parser, write_file, write_image
from mnssd_training.cli.data_arguments import add_data_arguments, choose_data, read_choice
from mnssd_training.data.copy_paste import make_object_pool
from mnssd_training.data.hard_negatives import attach_hard_negatives
from mnssd_training.data.sampling import describe_sampling
from mnssd_training.errors import ConfigError, DatasetError
from mnssd_training.inspection import check, check_json, check_text, preview
from mnssd_training.inspection.stats import measure_split, stats_page, stats_text
from mnssd_training.priors import make_spec
from mnssd_training.reporting import drawing, page
import numpy as np
from tqdm import tqdm

EXAMPLES = """\
  mnssd dataset check DATA/hit_uav
  mnssd dataset check hit_uav data.root=DATA/hit_uav --json faults.json
  mnssd dataset stats hit_uav data.root=DATA/hit_uav --html hit_uav.html
  mnssd dataset preview DATA/aerial_cars --split val --class bus --output buses.jpg
  mnssd dataset preview hit_uav data.root=DATA/hit_uav --augmented --matched --output augmented.png
"""


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Inspect a dataset. check, stats and preview have their own --help."""
    parser = make_parser('dataset', main.__doc__, EXAMPLES)
    verbs = {'check': _check, 'stats': _stats, 'preview': _preview}
    parser.add_argument('verb', choices=(*verbs, 'look'), metavar=f'{{{",".join(verbs)}}}')
    parser.add_argument('arguments', nargs=REMAINDER, help='of the verb')
    args = parser.parse_args(arguments)
    if args.verb == 'look':
        parser.error("'look' is now called 'preview'")
    run = verbs[args.verb]
    verb_parser = ArgumentParser(f'mnssd dataset {args.verb}', description=run.__doc__)
    add_data_arguments(verb_parser)
    run(verb_parser, args.arguments)


def _check(parser: ArgumentParser, arguments: Sequence[str]) -> None:
    """Find all problems of a dataset; exit with 1 if there is an error."""
    parser.add_argument('--strict', action='store_true', help='fail for warnings, too')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all problems there')
    parser.add_argument(
        '--shown',
        type=int,
        default=5,
        help='problems listed of each kind; 0 for all (default: 5)',
    )
    parser.add_argument('--workers', type=int, default=2, help='processes (default: 2)')
    parser.add_argument('--quiet', action='store_true', help='no progress bar')
    args = parser.parse_intermixed_args(arguments)
    choice = choose_data(args, all_splits=True)
    result = check(
        choice.sources,
        choice.splits,
        choice.config.classes,
        choice.experiment,
        args.workers,
        partial(tqdm, desc='images', disable=args.quiet or None, leave=False),
    )
    print(check_text(result, Path(choice.config.root).expanduser(), args.shown))
    if args.json:
        write_file(args.json, json.dumps(check_json(result), indent=1))
    num = result.count('error') + (result.count('warning') if args.strict else 0)
    if num:
        raise DatasetError(choice.config.root, f'found {num} problems')


def _stats(parser: ArgumentParser, arguments: Sequence[str]) -> None:
    """Count and measure the objects of a dataset."""
    parser.add_argument('--html', type=Path, metavar='FILE', help='write a page with plots')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all numbers there')
    args = parser.parse_intermixed_args(arguments)
    choice = choose_data(args, all_splits=True)
    class_names, samples = read_choice(choice)
    network = choice.experiment.input if choice.experiment else None
    resize = (network.size, network.resize) if network else ()
    stats = {name: measure_split(split, class_names, *resize) for name, split in samples.items()}
    print(stats_text(stats))
    train, sampling = samples.get('train', []), choice.config.sampling
    for line in describe_sampling(train, class_names, sampling) if train else ():
        print(f'sampling: {line}')
    if args.html:
        write_file(args.html, stats_page(args.source, stats))
    if args.json:
        write_file(args.json, json.dumps(to_plain(stats), indent=1))


def _preview(parser: ArgumentParser, arguments: Sequence[str]) -> None:
    """Draw images of a dataset with their boxes, as they are or as the network sees them."""
    parser.add_argument(
        '--output', type=Path, default=Path('preview.jpg'), help='.jpg, .png or .html'
    )
    parser.add_argument('--num', type=int, default=12, help='images (default: 12)')
    parser.add_argument('--seed', type=int, default=0, help='of the random choice (default: 0)')
    parser.add_argument(
        '--class',
        dest='classes',
        action='append',
        default=[],
        help='only images that show it; repeatable',
    )
    parser.add_argument('--augmented', action='store_true', help='as the network sees it')
    parser.add_argument('--epoch', type=int, default=0, help='of training (default: 0)')
    parser.add_argument('--matched', action='store_true', help='draw the positive priors')
    parser.add_argument('--columns', type=int, default=3, help='images per row (default: 3)')
    parser.add_argument(
        '--width', type=int, default=560, help='of an image, pixels (default: 560)'
    )
    args = parser.parse_intermixed_args(arguments)
    choice = choose_data(args, all_splits=True)
    class_names, samples = read_choice(choice)
    unknown = [name for name in args.classes if name not in class_names]
    if unknown:
        raise ConfigError(f'--class: expected one of {", ".join(class_names)}, got {unknown[0]!r}')
    split = choice.splits[0] if choice.splits else 'train'
    pool = samples.get(split) or next(iter(samples.values()))
    labels = [class_names.index(name) for name in args.classes]
    chosen = preview.choose_indices(pool, args.num, labels, np.random.default_rng(args.seed))
    if not (args.augmented or args.matched):
        tiles = [preview.draw_sample(pool[index], args.width) for index in chosen]
    elif not (experiment := choice.experiment):
        raise ConfigError('--augmented and --matched need an experiment, not a folder')
    else:
        spec = make_spec(experiment, samples.get('train', pool), class_names)
        pool, _ = attach_hard_negatives(pool, experiment.data.hard_negatives)
        config, groups = experiment.augmentation, experiment.data.sampling.groups
        objects = make_object_pool(pool, config, groups) if args.augmented else None
        tiles = []
        for index in chosen:
            sample = preview.make_network_sample(
                pool, index, spec, experiment, args.epoch, args.augmented, objects
            )
            drawn = pool[index].name, sample, spec, experiment
            tiles.append(preview.draw_network_sample(*drawn, args.matched, args.width))
    legend = [(name, class_colour(label)) for label, name in enumerate(class_names)]
    if args.output.suffix == '.html':
        html = page.render_page('images', title=args.source, tiles=tiles, colours=dict(legend))
        write_file(args.output, html)
    else:
        write_image(args.output, drawing.contact_sheet(tiles, args.columns, legend))
    print(f'{len(tiles)} images: {args.output}')
