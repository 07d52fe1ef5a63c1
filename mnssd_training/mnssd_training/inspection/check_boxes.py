"""Boxes of single images to what is wrong with them."""

from collections.abc import Iterator, Sequence

from mnssd_perception.ssd import boxes as boxes_of
from mnssd_training.inspection.findings import Finding
from mnssd_training.inspection.placed import Placed
import numpy as np
from numpy.typing import NDArray

OVERHANG = 1.0  # pixels that a box may reach over an edge: roundings of annotation tools
TINY = 2.0  # pixels; a side under it shows nothing
ALL = 0.95  # part of the image
SAME = 0.95  # IoU from which two boxes of one class are one box drawn twice
STRONG = 0.9  # IoU from which two boxes of different classes contradict each other
HIDDEN = 0.9  # part of an object inside an ignore region
ENOUGH = 30  # objects of a class that show what is usual
UNUSUAL = 6.0  # robust standard deviations
MAD_TO_SIGMA = 1.4826  # of a normal distribution


def check_boxes(placed: Placed) -> Iterator[Finding]:
    """
    Find boxes that are no boxes, or not in the image.

    :param placed: the boxes of one image.
    :return: the findings.
    """
    height, width = placed.size
    limit = np.array((width, height), np.float64)
    for box, edges, sides in zip(placed.entry.boxes, placed.edges, placed.sides):
        low, high = edges[:2], edges[2:]
        shown = ', '.join(f'{edge:.6g}' for edge in edges)
        words = ''
        if (high <= low).any():
            kind, words = 'box degenerate', f'({shown}) has no area'
        elif (high <= 0).any() or (low >= limit).any():
            kind, words = 'box off image', f'({shown}) lies outside {width} x {height}'
        elif (low < -OVERHANG).any() or (high > limit + OVERHANG).any():
            kind, words = 'box outside', f'({shown}) reaches over {width} x {height}'
        elif (sides < TINY).any():
            kind, words = 'box tiny', f'{sides[0]:.2g} x {sides[1]:.2g} pixels'
        elif sides.prod() >= ALL * width * height and not box.is_ignore:
            kind, words = 'box covers all', f'{100 * sides.prod() / (width * height):.0f} %'
        if words:
            yield _finding(placed, box.where, kind, f'{box.name}: {words}')


def check_pairs(placed: Placed, class_names: Sequence[str]) -> Iterator[Finding]:
    """
    Find boxes that contradict or repeat each other.

    :param placed: the boxes of one image.
    :param class_names: in the order of their labels.
    :return: the findings.
    """
    rows = np.flatnonzero(placed.is_object)
    boxes, labels = placed.boxes[rows], placed.labels[rows]
    where = [placed.entry.boxes[row].where for row in rows]
    ious = np.triu(boxes_of.box_iou(boxes, boxes), 1)
    for first, second in zip(*np.nonzero(ious >= min(SAME, STRONG))):
        overlap = f'IoU {ious[first, second]:.2f}'
        one, other = class_names[labels[first]], class_names[labels[second]]
        if labels[first] != labels[second]:
            words = f'{other} lies on the {one} of {where[first]}, {overlap}'
            yield _finding(placed, where[second], 'two classes', words)
        elif ious[first, second] >= SAME:
            words = f'the {one} of {where[first]} once more, {overlap}'
            yield _finding(placed, where[second], 'box twice', words)
    regions = placed.boxes[placed.is_ignore & (placed.labels < 0)]
    if len(regions):
        hidden = boxes_of.box_ioa(boxes, regions).max(axis=1, initial=0)
        for row in np.flatnonzero(hidden >= HIDDEN):
            words = f'{class_names[labels[row]]} inside an ignore region'
            yield _finding(placed, where[row], 'box hidden', words)


def check_unusual(placed: Sequence[Placed], class_names: Sequence[str]) -> Iterator[Finding]:
    """
    Find boxes whose size or shape is far from that of their class.

    Both are compared on a logarithmic scale, sizes in widths of the image, by the distance from
    the median over the median of such distances.

    :param placed: the boxes of all images.
    :param class_names: in the order of their labels.
    :return: the findings.
    """
    rows = [(item, row) for item in placed for row in np.flatnonzero(item.is_object)]
    labels = np.array([item.labels[row] for item, row in rows], np.int64)
    sides = np.array([item.sides[row] for item, row in rows]).reshape(-1, 2)
    widths = np.array([item.size[1] for item, _ in rows], np.float64)
    for label, name in enumerate(class_names):
        own = np.flatnonzero(labels == label)
        if len(own) < ENOUGH:
            continue
        relative = np.sqrt(sides[own].prod(axis=1)) / widths[own]
        # Seen from above things lie in any direction: a standing box is as usual as a lying one.
        shapes = sides[own].max(axis=1) / sides[own].min(axis=1)
        measures = (
            ('size unusual', relative, 'of the width of the image'),
            ('shape unusual', shapes, 'times as long as it is narrow'),
        )
        for kind, values, unit in measures:
            score, usual = _robust_score(np.log(values)), float(np.median(values))
            for place in np.flatnonzero(np.abs(score) > UNUSUAL):
                item, row = rows[own[place]]
                words = f'{name}: {values[place]:.3g} {unit}; the usual is {usual:.3g}'
                yield _finding(item, item.entry.boxes[row].where, kind, words)


def _robust_score(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Measure the distance of each value from the median, in robust standard deviations."""
    distance = values - np.median(values)
    spread = MAD_TO_SIGMA * float(np.median(np.abs(distance)))
    return distance / max(spread, 1e-3)


def _finding(placed: Placed, where: str, kind: str, words: str) -> Finding:
    """Make a finding about one box."""
    return Finding(kind, str(placed.entry.annotation), where, words)
