"""Figures of a dataset to a page."""

from collections.abc import Mapping, Sequence
from html import escape

from mnssd_training.inspection.page import page, plots, table
from mnssd_training.inspection.stats import ClassStats, SplitStats
from mnssd_training.plots import Bars, HeatMap

HEAD = (
    'class', 'boxes', 'images', 'ignored', 'median w x h', 'size, 5 to 95 %', 'median w/h',
    'small', 'medium', 'large', 'small in network', 'medium in network', 'large in network',
)  # fmt: skip


def stats_page(title: str, stats: Mapping[str, SplitStats]) -> str:
    """
    Make a page of figures.

    :param title: of the page.
    :param stats: by split.
    :return: HTML, one file.
    """
    return page(title, [part for name, split in stats.items() for part in _split(name, split)])


def _split(name: str, split: SplitStats) -> list[str]:
    """Show one split."""
    rows = [(class_name, *_row(one)) for class_name, one in split.classes.items()]
    rows.append(('all', *_sums(split)))
    sizes = [(f'{width} x {height}', number) for (width, height), number in split.image_sizes]
    classes = split.classes
    overview = [
        Bars('objects by class', 'class', 'objects', [one.num_boxes for one in classes.values()],
             list(classes), 7),
        Bars('images by class', 'class', 'images that show it',
             [one.num_images for one in classes.values()], list(classes), 7),
        Bars('images by number of objects', 'objects in the image', 'images',
             *_by_number(split.boxes_per_image), 7),
    ]  # fmt: skip
    by_size = [
        Bars(f'{class_name}: size', 'root of the area, pixels of the image', 'objects',
             one.histogram, _size_edges(len(one.histogram)), index)
        for index, (class_name, one) in enumerate(classes.items())
        if one.num_boxes
    ]  # fmt: skip
    aspect = _aspect(split)
    places = [HeatMap('where the centres of objects are', split.centres, aspect)]
    return [
        f'<h2>{escape(name)}</h2>',
        f'<p>{split.num_images} images, {split.num_empty} of them without objects; '
        f'{sum(one.num_boxes for one in classes.values())} objects.</p>',
        table(HEAD, rows),
        plots('numbers of objects and images', overview),
        plots('sizes and places of objects', [*by_size, *places]),
        table(('image size', 'images'), sizes),
    ]


def _by_number(counts: Sequence[int]) -> tuple[list[int], list[str]]:
    """Group images by number of objects into at most twenty bars, named by their edges if wide."""
    width = max(1, -(-len(counts) // 20))
    grouped = [sum(counts[start : start + width]) for start in range(0, len(counts), width)]
    num_names = len(grouped) + (width > 1)
    return grouped, [str(number * width) for number in range(num_names)]


def _size_edges(num_bars: int) -> list[str]:
    """Name the edges between half octaves from 1 pixel on."""
    return [f'{2 ** (step / 2):.3g}' for step in range(num_bars + 1)]


def _aspect(split: SplitStats) -> float:
    """Take the shape of the most frequent image size."""
    width, height = split.image_sizes[0][0] if split.image_sizes else (4, 3)
    return width / height


def _sums(split: SplitStats) -> tuple[object, ...]:
    """Give the cells of all classes together; images may show several."""
    every = split.classes.values()
    sizes = [sum(counts) for counts in zip(*(one.in_source for one in every))]
    inside = [sum(counts) for counts in zip(*(one.in_network for one in every))]
    return (
        sum(one.num_boxes for one in every),
        split.num_images - split.num_empty,
        sum(one.num_ignored for one in every),
        *('', '', ''),
        *sizes,
        *inside,
    )


def _row(one: ClassStats) -> tuple[object, ...]:
    """Give the cells of one class."""
    counts = (one.num_boxes, one.num_images, one.num_ignored)
    if not one.num_boxes:
        return counts
    return (
        *counts,
        f'{one.width[2]:.0f} x {one.height[2]:.0f}',
        f'{one.size[0]:.0f} to {one.size[-1]:.0f}',
        f'{one.aspect[2]:.2f}',
        *one.in_source,
        *one.in_network,
    )
