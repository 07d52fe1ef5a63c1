"""Figures of a data set to a page."""

from collections.abc import Mapping
from html import escape

from mnssd_training.inspection.page import bars, heat_map, page, table
from mnssd_training.inspection.stats import ClassStats, SplitStats

__all__ = ['stats_page']

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
    sizes = [(f'{width} x {height}', number) for (width, height), number in split.image_sizes]
    numbers = {str(number): count for number, count in enumerate(split.boxes_an_image)}
    parts = [
        f'<h2>{escape(name)}</h2>',
        f'<p>{split.num_images} images, {split.num_empty} of them without objects.</p>',
        table(HEAD, rows),
        heat_map('where the centres of objects are', split.centres),
        bars('images by number of objects', numbers),
    ]
    for class_name, one in split.classes.items():
        octaves = {
            f'{2 ** (step / 2):.0f} px': number for step, number in enumerate(one.histogram)
        }
        parts.append(bars(f'{class_name}: objects by size, root of the area', octaves))
    return [*parts, table(('image size', 'images'), sizes)]


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
