"""Count and measure the objects of a dataset."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mnssd_training.data.sample import Sample
from mnssd_training.priors import measure_box_sizes
from mnssd_training.reporting import page, plots
from mnssd_training.reporting.tables import format_table
import numpy as np
from numpy.typing import NDArray

PERCENTILES = (5, 25, 50, 75, 95)
SIZE_LIMITS = (32.0, 96.0)  # pixels, root of the area: small, medium, large, as in COCO
BINS = (18, 24)  # rows and columns of a map of centres
MAX_BARS = 20

Counts = tuple[int, ...]
Percentiles = tuple[float, ...]


@dataclass(frozen=True)
class ClassStats:
    """
    The objects of one class in one split.

    Sizes are roots of areas in pixels of the image. Percentiles are those of
    :data:`PERCENTILES`, or empty without objects.
    """

    num_boxes: int  # without ignore regions
    num_images: int  # that show an object of the class
    num_ignored: int
    width: Percentiles
    height: Percentiles
    size: Percentiles
    aspect: Percentiles  # width over height
    in_source: Counts  # small, medium and large objects in the image
    in_network: Counts  # the same in the network input; empty without an experiment
    histogram: Counts  # objects by size, in steps of half an octave from 1 pixel


@dataclass(frozen=True)
class SplitStats:
    """The images and objects of one split."""

    num_images: int
    num_empty: int  # images without an object
    image_sizes: tuple[tuple[tuple[int, int], int], ...]  # (w, h), images; most frequent first
    boxes_per_image: Counts  # number of images by number of objects, from 0
    classes: dict[str, ClassStats]  # in the order of their labels
    centres: tuple[Counts, ...]  # number of objects by position in the image, BINS

    @property
    def num_boxes(self) -> int:
        """Count the objects of all classes."""
        return sum(stats.num_boxes for stats in self.classes.values())


def measure_split(
    samples: Sequence[Sample],
    class_names: Sequence[str],
    input_size: tuple[int, int] | None = None,
    resize: Literal['stretch', 'letterbox'] = 'stretch',
) -> SplitStats:
    """Measure one split, also in a network input of (height, width) if there is one."""
    boxes_per_image = Counter(len(sample.boxes) for sample in samples)
    image_sizes = Counter((sample.size[1], sample.size[0]) for sample in samples)
    labels = np.concatenate([np.zeros(0, np.int64), *(s.labels for s in samples)])
    ignore_labels = np.concatenate([np.zeros(0, np.int64), *(s.ignore_labels for s in samples)])
    boxes = np.concatenate([np.zeros((0, 4)), *(sample.boxes for sample in samples)])
    sides = boxes[:, 2:] - boxes[:, :2]
    network_sides = measure_box_sizes(samples, input_size, resize) if input_size else None
    num_images = Counter(label for sample in samples for label in set(sample.labels.tolist()))
    classes = {}
    for label, name in enumerate(class_names):
        is_class = labels == label
        width, height = sides[is_class].T
        size = np.sqrt(width * height)
        half_octaves = np.floor(2 * np.log2(np.maximum(size, 1))).astype(np.int64)
        classes[name] = ClassStats(
            len(size),
            num_images[label],
            int((ignore_labels == label).sum()),
            _percentiles(width),
            _percentiles(height),
            _percentiles(size),
            _percentiles(width / height),
            _count_by_size(sides[is_class]),
            () if network_sides is None else _count_by_size(network_sides[is_class]),
            tuple(np.bincount(half_octaves).tolist()),
        )
    return SplitStats(
        len(samples),
        boxes_per_image[0],
        tuple(image_sizes.most_common()),
        tuple(boxes_per_image[num] for num in range(max(boxes_per_image, default=-1) + 1)),
        classes,
        _map_centres(samples),
    )


def _count_by_size(sides: NDArray[np.float64]) -> Counts:
    """Count small, medium and large objects."""
    sizes = np.sqrt(sides.prod(axis=1))
    return tuple(np.bincount(np.digitize(sizes, SIZE_LIMITS), minlength=3).tolist())


def _percentiles(values: NDArray[np.float64]) -> Percentiles:
    if not len(values):
        return ()
    return tuple(round(float(value), 3) for value in np.percentile(values, PERCENTILES))


def _map_centres(samples: Sequence[Sample]) -> tuple[Counts, ...]:
    counts = np.zeros(BINS, np.int64)
    for sample in samples:
        centres = (sample.boxes[:, :2] + sample.boxes[:, 2:]) / 2 / np.array(sample.size[::-1])
        rows, columns = np.minimum(centres[:, ::-1] * BINS, np.array(BINS) - 1).astype(np.int64).T
        np.add.at(counts, (rows, columns), 1)
    return tuple(map(tuple, counts.tolist()))


def stats_text(stats: Mapping[str, SplitStats]) -> str:
    """Format the statistics of each split as a table."""
    parts = []
    for name, split in stats.items():
        average = ''
        if split.num_images:
            most = len(split.boxes_per_image) - 1
            average = f', {split.num_boxes / split.num_images:.1f} per image, at most {most}'
        sizes = [f'{w} x {h} ({num})' for (w, h), num in split.image_sizes]
        others = f' and {len(sizes) - 4} more' if len(sizes) > 4 else ''
        parts.append(
            f'{name}: {split.num_images} images, {split.num_empty} of them without objects; '
            f'{split.num_boxes} objects{average}\nimage sizes: {", ".join(sizes[:4])}{others}\n'
            f'{format_table(_class_table(split))}'
        )
    return '\n\n'.join(parts)


def stats_page(title: str, stats: Mapping[str, SplitStats]) -> str:
    """Lay the statistics of each split out as one self-contained HTML page."""
    tables = {name: _class_table(split) for name, split in stats.items()}
    charts = {
        name: (plots.svg_data_uri(_count_charts(split)), plots.svg_data_uri(_size_charts(split)))
        for name, split in stats.items()
    }
    return page.render_page(
        'dataset_stats', title=title, stats=stats, tables=tables, charts=charts
    )


def _class_table(split: SplitStats) -> list[tuple[object, ...]]:
    """Make a table of the classes; its last row sums them up."""
    rows: list[tuple[object, ...]] = [
        (
            'class', 'boxes', 'images', 'ignored', 'median w x h', 'size, 5 to 95 %', 'w/h',
            'small, medium, large', 'in the network',
        )
    ]  # fmt: skip
    for name, row in split.classes.items():
        cells = [''] * 5
        if row.num_boxes:
            cells = [
                f'{row.width[2]:.0f} x {row.height[2]:.0f}',
                f'{row.size[0]:.0f} to {row.size[-1]:.0f}',
                f'{row.aspect[2]:.2f}',
                ', '.join(map(str, row.in_source)),
                ', '.join(map(str, row.in_network)) or '-',
            ]
        rows.append((name, row.num_boxes, row.num_images, row.num_ignored, *cells))
    classes = split.classes.values()
    sizes = [
        ', '.join(str(sum(counts)) for counts in zip(*by_class))
        for by_class in zip(*((row.in_source, row.in_network) for row in classes))
    ]
    num_ignored = sum(row.num_ignored for row in classes)
    num_with_objects = split.num_images - split.num_empty
    return [*rows, ('all', split.num_boxes, num_with_objects, num_ignored, '', '', '', *sizes)]


def _count_charts(split: SplitStats) -> list[plots.Chart]:
    names, classes = list(split.classes), split.classes.values()
    num_boxes, num_images = zip(*((row.num_boxes, row.num_images) for row in classes))
    counts, edges = _group_counts(split.boxes_per_image)
    title = 'images by number of objects'
    return [
        plots.bar_chart('objects by class', 'class', 'objects', num_boxes, names),
        plots.bar_chart('images by class', 'class', 'images that show it', num_images, names),
        plots.bar_chart(title, 'objects in the image', 'images', counts, edges),
    ]


def _size_charts(split: SplitStats) -> list[plots.Chart]:
    charts = []
    for index, (name, row) in enumerate(split.classes.items()):
        if row.num_boxes:
            edges = [f'{2 ** (step / 2):.3g}' for step in range(len(row.histogram) + 1)]
            x_label = 'root of the area, pixels of the image'
            colour = plots.line_style(index)[0]
            charts.append(
                plots.bar_chart(f'{name}: size', x_label, 'objects', row.histogram, edges, colour)
            )
    width, height = split.image_sizes[0][0] if split.image_sizes else (4, 3)
    return [*charts, plots.heat_map('centres of the objects', split.centres, width / height)]


def _group_counts(counts: Sequence[int]) -> tuple[list[int], list[str]]:
    """Group images by number of objects into a few bars, named by their edges if wide."""
    width = max(1, -(-len(counts) // MAX_BARS))
    grouped = [sum(counts[start : start + width]) for start in range(0, len(counts), width)]
    num_names = len(grouped) + (width > 1)
    return grouped, [str(number * width) for number in range(num_names)]
