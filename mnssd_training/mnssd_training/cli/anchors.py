"""``anchors``: the boxes of a dataset to the priors that fit them."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
import sys

from mnssd_perception.ssd import FeatureMap, ModelSpec
from mnssd_training.cli.common import run_verb, write_image
from mnssd_training.cli.data_arguments import add_experiment, read_experiment
from mnssd_training.config import Experiment
from mnssd_training.data.sample import Sample
from mnssd_training.data.sources import read_splits
from mnssd_training.inspection.anchor_plots import (
    cell_of_each_level,
    level_colour,
    priors_on_photograph,
    size_plot,
)
from mnssd_training.inspection.anchors import (
    centred_fit,
    cluster_curve,
    Fit,
    grid_fit,
    GridFit,
    IOUS,
    measure_fit,
    shown_boxes,
    sizes_of,
    suggest_priors_per_cell,
)
from mnssd_training.inspection.drawing import legend_of, sheet, Tile
from mnssd_training.inspection.look import choose_indices
from mnssd_training.inspection.stats import SIZE_LIMITS
from mnssd_training.layouts import PUBLISHED, spec_of
import numpy as np
from numpy.typing import NDArray

EPILOG = """\
examples:
  mnssd anchors hit_uav data.root=DATA/hit_uav
  mnssd anchors hit_uav 'priors.priors_per_cell=[6, 5, 3, 3]' data.root=DATA --output priors
"""


def _verb(arguments: Sequence[str] | None) -> None:
    """Parse, measure, print and draw."""
    parser = ArgumentParser(
        'mnssd anchors',
        description='Find priors that suit the training boxes, and tell how well they do.',
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_experiment(parser)
    parser.add_argument('--clusters', type=int, default=12, help='most to try (default: 12)')
    parser.add_argument(
        '--boxes', type=int, default=5000, help='most to compare with all priors (default: 5000)'
    )
    parser.add_argument('--output', type=Path, metavar='FOLDER', help='write images there')
    parser.add_argument('--num', type=int, default=6, help='images (default: 6)')
    args = parser.parse_intermixed_args(arguments)
    experiment = read_experiment(args)
    splits = read_splits(experiment.data)
    spec = spec_of(experiment, splits.train, splits.class_names)
    boxes, labels = shown_boxes(splits.train, spec)
    sizes = boxes[:, 2:] - boxes[:, :2]
    print(f'{len(splits.train)} images, {len(boxes)} boxes, input {spec.input_size}')
    print(_curve(sizes, args.clusters, experiment.training.seed))
    chosen = _sample(len(boxes), args.boxes, experiment.training.seed)
    print(_layouts(spec, experiment, sizes, boxes[chosen]))
    found = grid_fit(boxes[chosen], spec)
    print(_details(found, spec, sizes[chosen], labels[chosen]))
    print(_yaml(experiment, sizes, args.clusters))
    if args.output:
        _draw(args, spec, splits.train, sizes, labels)


def _sample(total: int, num: int, seed: int) -> NDArray[np.int64]:
    """Choose some boxes, in their order."""
    generator = np.random.default_rng(seed)
    return np.sort(generator.choice(total, min(num, total), replace=False))


def _head(title: str, column: str) -> list[str]:
    """Make the head of a table of fits."""
    columns = ''.join(f'{f"IoU {iou:g}":>9}' for iou in IOUS)
    return ['', title, f'{column:<28}{"boxes":>8}{"mean IoU":>10}{columns}']


def _row(name: str, fit: Fit) -> str:
    """Make a row of a table of fits."""
    recall = ''.join(f'{100 * part:>8.1f}%' for part in fit.recall)
    return f'{name:<28}{fit.num_boxes:>8}{fit.mean_iou:>10.3f}{recall}'


def _curve(sizes: NDArray[np.float64], largest: int, seed: int) -> str:
    """Tell what each further size of priors gains."""
    lines = _head('Sizes of priors, made by k-means, whatever the place:', 'clusters')
    lines += [
        _row(str(num), fit) for num, fit in enumerate(cluster_curve(sizes, largest, seed), 1)
    ]
    return '\n'.join(lines)


def _layouts(
    spec: ModelSpec,
    experiment: Experiment,
    sizes: NDArray[np.float64],
    boxes: NDArray[np.float64],
) -> str:
    """Compare layouts."""
    own = f'this experiment ({experiment.priors.layout})'
    layouts: dict[str, tuple[FeatureMap, ...]] = {own: spec.feature_maps}
    layouts |= {name: make(spec.input_size) for name, make in PUBLISHED.items()}
    lines = _head('Layouts of priors, whatever the place:', 'layout')
    lines += [
        _row(name, measure_fit(centred_fit(sizes, sizes_of(levels))))
        for name, levels in layouts.items()
    ]
    lines += _head('Layouts of priors, where their grid puts them:', 'layout')
    for name, levels in layouts.items():
        other = replace(spec, feature_maps=levels)
        fit = measure_fit(grid_fit(boxes, other).best)
        lines.append(f'{_row(name, fit)}{other.num_priors:>9} priors')
    return '\n'.join(lines)


def _details(
    found: GridFit,
    spec: ModelSpec,
    sizes: NDArray[np.float64],
    labels: NDArray[np.int64],
) -> str:
    """Tell by class, size and level how well the priors of the experiment fit."""
    root = np.sqrt(sizes.prod(axis=1))
    limits = (0.0, 8.0, 16.0, *SIZE_LIMITS, np.inf)
    parts: Mapping[str, NDArray[np.bool_]] = {
        **{name: labels == label for label, name in enumerate(spec.class_names)},
        **{
            f'{low:g} to {high:g} px': (root >= low) & (root < high)
            for low, high in pairwise(limits)
        },
    }
    lines = _head('This experiment, where its grid puts them, by class and size:', 'boxes of')
    lines += [_row(name, measure_fit(found.best[own])) for name, own in parts.items()]
    lines += _head('The same by level, for the boxes that it fits best:', 'stride')
    for index, level in enumerate(spec.feature_maps):
        own = found.level == index
        lines.append(_row(f'{level.stride[0]:g}', measure_fit(found.by_level[own, index])))
    return '\n'.join(lines)


def _yaml(experiment: Experiment, sizes: NDArray[np.float64], largest: int) -> str:
    """Write the section that suits the boxes."""
    strides = experiment.priors.strides
    priors_per_cell = suggest_priors_per_cell(sizes, strides, largest, experiment.training.seed)
    return (
        '\nTo paste into an experiment:\n\n'
        'priors:\n'
        '  layout: clustered\n'
        f'  strides: {list(strides)}\n'
        f'  priors_per_cell: {list(priors_per_cell)}'
    )


def _draw(
    args: Namespace,
    spec: ModelSpec,
    samples: Sequence[Sample],
    sizes: NDArray[np.float64],
    labels: NDArray[np.int64],
) -> None:
    """Write the images."""
    levels = [
        (f'stride {level.stride[0]:g}', level_colour(index))
        for index, level in enumerate(spec.feature_maps)
    ]
    generator = np.random.default_rng(0)
    chosen = choose_indices(samples, args.num, range(spec.num_classes), generator)
    pictures = {
        'sizes.png': sheet(
            [Tile(size_plot(sizes, labels, spec.feature_maps), 'dots: boxes; crosses: priors')],
            1,
            [*legend_of(spec.class_names), *levels],
        ),
        'cells.png': sheet(cell_of_each_level(spec, 420), 3, levels),
        'images.png': sheet(
            [priors_on_photograph(samples[index], spec, 560) for index in chosen], 3, levels
        ),
    }
    for name, image in pictures.items():
        write_image(args.output / name, image)
        print(f'image: {args.output / name}')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
