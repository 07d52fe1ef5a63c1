"""``mnssd anchors``: measure and suggest priors for a dataset."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from mnssd_perception.ssd import ModelSpec
from mnssd_training.cli.common import command, make_parser, write_image
from mnssd_training.cli.data_arguments import add_experiment, read_experiment
from mnssd_training.data.sample import Sample
from mnssd_training.data.sources import read_splits
from mnssd_training.inspection import anchor_plots, anchors
from mnssd_training.inspection.preview import choose_indices
from mnssd_training.inspection.stats import SIZE_LIMITS
from mnssd_training.priors import make_spec, PUBLISHED_LAYOUTS
from mnssd_training.reporting import drawing
from mnssd_training.reporting.tables import format_table
import numpy as np
from numpy.typing import NDArray

EXAMPLES = """\
  mnssd anchors hit_uav data.root=DATA/hit_uav
  mnssd anchors hit_uav 'priors.priors_per_cell=[6, 5, 3, 3]' data.root=DATA --output priors
"""


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure how well priors (anchors) fit the training boxes, and suggest some."""
    parser = make_parser('anchors', main.__doc__, EXAMPLES)
    add_experiment(parser)
    parser.add_argument(
        '--clusters', type=int, default=12, help='largest number to try (default: 12)'
    )
    parser.add_argument(
        '--boxes',
        type=int,
        default=5000,
        help='largest number to compare with all priors (default: 5000)',
    )
    parser.add_argument('--output', type=Path, metavar='FOLDER', help='write images there')
    parser.add_argument('--num', type=int, default=6, help='images (default: 6)')
    args = parser.parse_intermixed_args(arguments)
    experiment = read_experiment(args)
    seed = experiment.training.seed
    splits = read_splits(experiment.data)
    spec = make_spec(experiment, splits.train, splits.class_names)
    boxes, labels = anchors.boxes_in_network(splits.train, spec)
    sizes = boxes[:, 2:] - boxes[:, :2]
    print(f'{len(splits.train)} images, {len(boxes)} boxes, input {spec.input_size}')
    fits = anchors.cluster_curve(sizes, args.clusters, seed)
    curve = [(str(num), fit) for num, fit in enumerate(fits, 1)]
    _print_table('k-means clusters of box sizes, at the best position:', 'clusters', curve)
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.choice(len(boxes), min(args.boxes, len(boxes)), replace=False))
    _print_layouts(spec, experiment.priors.layout, sizes, boxes[chosen])
    _print_details(spec, boxes[chosen], labels[chosen])
    strides = experiment.priors.strides
    priors_per_cell = anchors.suggest_priors_per_cell(sizes, strides, args.clusters, seed)
    print(
        '\nTo paste into an experiment:\n\n'
        'priors:\n'
        '  layout: clustered\n'
        f'  strides: {list(strides)}\n'
        f'  priors_per_cell: {list(priors_per_cell)}'
    )
    if args.output:
        _write_images(args, spec, splits.train, sizes, labels)


def _print_table(title: str, column: str, rows: list[tuple[str, anchors.AnchorFit]]) -> None:
    head = [column, 'boxes', 'mean IoU', *(f'IoU {iou:g}' for iou in anchors.RECALL_IOUS)]
    cells = [
        [name, fit.num_boxes, f'{fit.mean_iou:.3f}', *(f'{100 * r:.1f}%' for r in fit.recall)]
        for name, fit in rows
    ]
    print(f'\n{title}\n{format_table([head, *cells])}')


def _print_layouts(
    spec: ModelSpec, layout: str, sizes: NDArray[np.float64], boxes: NDArray[np.float64]
) -> None:
    """Compare the layout of the experiment with the published ones."""
    specs = {f'this experiment ({layout})': spec}
    for name, make_feature_maps in PUBLISHED_LAYOUTS.items():
        specs[name] = replace(spec, feature_maps=make_feature_maps(spec.input_size))
    centred, on_grid = [], []
    for name, each in specs.items():
        ious = anchors.best_centred_iou(sizes, anchors.prior_sizes(each.feature_maps))
        centred.append((name, anchors.summarize_fit(ious)))
        grid_fit = anchors.summarize_fit(anchors.match_grid(boxes, each).iou)
        on_grid.append((f'{name}, {each.num_priors} priors', grid_fit))
    _print_table('Layouts of priors, at the best position:', 'layout', centred)
    _print_table('Layouts of priors, on their grid:', 'layout', on_grid)


def _print_details(spec: ModelSpec, boxes: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
    """Print how well the priors of the experiment fit by class, size and level."""
    match = anchors.match_grid(boxes, spec)
    rows = [
        (name, anchors.summarize_fit(match.iou[labels == label]))
        for label, name in enumerate(spec.class_names)
    ]
    root_area = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    for low, high in pairwise((0.0, 8.0, 16.0, *SIZE_LIMITS, np.inf)):
        ious = match.iou[(root_area >= low) & (root_area < high)]
        rows.append((f'{low:g} to {high:g} px', anchors.summarize_fit(ious)))
    _print_table('This experiment on its grid, by class and size:', 'boxes of', rows)
    rows = [
        (
            f'{level.stride[0]:g}',
            anchors.summarize_fit(match.iou_by_level[match.level == index, index]),
        )
        for index, level in enumerate(spec.feature_maps)
    ]
    _print_table('The same by level, of the boxes that it fits best:', 'stride', rows)


def _write_images(
    args: Namespace,
    spec: ModelSpec,
    samples: Sequence[Sample],
    sizes: NDArray[np.float64],
    labels: NDArray[np.int64],
) -> None:
    levels = [
        (f'stride {level.stride[0]:g}', anchor_plots.level_colour(index))
        for index, level in enumerate(spec.feature_maps)
    ]
    generator = np.random.default_rng(0)
    chosen = choose_indices(samples, args.num, range(spec.num_classes), generator)
    images = {
        'sizes.png': anchor_plots.plot_sizes(sizes, labels, spec.class_names, spec.feature_maps),
        'cells.png': drawing.contact_sheet(anchor_plots.draw_level_priors(spec, 420), 3, levels),
        'images.png': drawing.contact_sheet(
            [anchor_plots.draw_matched_priors(samples[index], spec, 560) for index in chosen],
            3,
            levels,
        ),
    }
    for name, image in images.items():
        write_image(args.output / name, image)
        print(f'image: {args.output / name}')
