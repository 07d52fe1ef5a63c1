"""Check the boxes of images, and those of each class."""

from collections import Counter
from collections.abc import Iterator, Sequence

from mnssd_perception.ssd import boxes as boxes_of
from mnssd_training.data.annotations import find_box_problem
from mnssd_training.data.problems import Problem
from mnssd_training.inspection.image_boxes import ImageBoxes, TRAIN, VAL
import numpy as np

OVERHANG = 1.0  # pixels that a box may reach over an edge: roundings of annotation tools
TINY = 2.0  # pixels; a shorter side shows nothing
WHOLE_IMAGE = 0.95  # part of the image
SAME = 0.95  # IoU from which two boxes of one class are one box drawn twice
CONFLICT = 0.9  # IoU from which two boxes of different classes contradict each other
HIDDEN = 0.9  # part of an object inside an ignore region
MIN_OBJECTS = 30  # of a class, that show what is usual
UNUSUAL = 6.0  # robust standard deviations
MAD_TO_SIGMA = 1.4826  # of a normal distribution
RARE = 50  # boxes to train on; a class with fewer is hardly learned
UNBALANCED = 30.0  # most frequent class over least frequent


def check_boxes(image: ImageBoxes) -> Iterator[Problem]:
    """Find boxes without area in the image, or of an unlikely size or position."""
    height, width = image.size
    limit = np.array((width, height)) + OVERHANG
    record = image.image.record
    for row, (box, edges, sides) in enumerate(zip(record.boxes, image.edges, image.sides)):
        problem = find_box_problem(record, box, edges.tolist(), image.size)
        if problem is not None:
            yield problem
        elif (edges[:2] < -OVERHANG).any() or (edges[2:] > limit).any():
            shown = ', '.join(f'{edge:.6g}' for edge in edges)
            message = f'{box.class_name}: ({shown}) reaches over {width} x {height}'
            yield image.problem('box outside', row, message)
        elif (sides < TINY).any():
            message = f'{box.class_name}: {sides[0]:.2g} x {sides[1]:.2g} pixels'
            yield image.problem('box tiny', row, message)
        elif sides.prod() >= WHOLE_IMAGE * width * height and not box.is_ignored:
            message = f'{box.class_name}: {100 * sides.prod() / (width * height):.0f} %'
            yield image.problem('box covers all', row, message)


def check_pairs(image: ImageBoxes, class_names: Sequence[str]) -> Iterator[Problem]:
    """Find boxes that contradict or repeat each other."""
    rows = np.flatnonzero(image.is_object)
    boxes, labels = image.boxes[rows], image.labels[rows]
    locations = [image.image.record.boxes[row].location for row in rows]
    ious = np.triu(boxes_of.box_iou(boxes, boxes), 1)
    for first, second in zip(*np.nonzero(ious >= min(SAME, CONFLICT))):
        iou = f'IoU {ious[first, second]:.2f}'
        first_class, second_class = class_names[labels[first]], class_names[labels[second]]
        if labels[first] != labels[second]:
            message = f'{second_class} lies on the {first_class} of {locations[first]}, {iou}'
            yield image.problem('two classes', rows[second], message)
        elif ious[first, second] >= SAME:
            message = f'the {first_class} of {locations[first]} once more, {iou}'
            yield image.problem('box twice', rows[second], message)
    regions = image.boxes[image.is_ignored & (image.labels < 0)]
    if len(regions):
        hidden = boxes_of.box_ioa(boxes, regions).max(axis=1, initial=0)
        for row in np.flatnonzero(hidden >= HIDDEN):
            message = f'{class_names[labels[row]]} inside an ignore region'
            yield image.problem('box hidden', rows[row], message)


def check_unusual(images: Sequence[ImageBoxes], class_names: Sequence[str]) -> Iterator[Problem]:
    """
    Find boxes whose size or shape is far from that of their class.

    Both are compared on a logarithmic scale, sizes in widths of the image, by the distance from
    the median over the median of such distances.
    """
    rows = [(image, row) for image in images for row in np.flatnonzero(image.is_object)]
    labels = np.array([image.labels[row] for image, row in rows], np.int64)
    sides = np.array([image.sides[row] for image, row in rows]).reshape(-1, 2)
    widths = np.array([image.size[1] for image, _ in rows], np.float64)
    for label, name in enumerate(class_names):
        indices = np.flatnonzero(labels == label)
        if len(indices) < MIN_OBJECTS:
            continue
        relative = np.sqrt(sides[indices].prod(axis=1)) / widths[indices]
        # From above, objects lie in any direction: a standing box is as usual as a lying one.
        shapes = sides[indices].max(axis=1) / sides[indices].min(axis=1)
        measures = (
            ('size unusual', relative, 'of the width of the image'),
            ('shape unusual', shapes, 'times as long as it is narrow'),
        )
        for kind, values, unit in measures:
            usual = float(np.median(values))
            logs = np.log(values)
            distance = np.abs(logs - np.median(logs))
            sigma = max(MAD_TO_SIGMA * float(np.median(distance)), 1e-3)
            for index in np.flatnonzero(distance / sigma > UNUSUAL):
                image, row = rows[indices[index]]
                message = f'{name}: {values[index]:.3g} {unit}; the usual is {usual:.3g}'
                yield image.problem(kind, row, message)


def check_classes(
    images: Sequence[ImageBoxes], class_names: Sequence[str], root: str
) -> Iterator[Problem]:
    """Find classes that cannot be learned or cannot be scored."""
    counts: dict[str, Counter[str]] = {}
    for image in images:
        counter = counts.setdefault(image.image.split, Counter())
        counter.update(class_names[label] for label in image.labels[image.is_object])
    in_train, in_val = counts.get(TRAIN, Counter()), counts.get(VAL, Counter())
    has_both = TRAIN in counts and VAL in counts
    in_any = sum(counts.values(), Counter())
    for name in class_names:
        if not in_any[name]:
            yield Problem('class unused', root, name, 'no box of it in any split')
            continue
        train, val = f'{in_train[name]} boxes in {TRAIN}', f'{in_val[name]} boxes in {VAL}'
        if has_both and not in_train[name] and in_val[name]:
            yield Problem('class only in val', root, name, f'{val}, none in {TRAIN}')
        elif 0 < in_train[name] < RARE:
            yield Problem('class rare', root, name, train)
        if has_both and in_train[name] and not in_val[name]:
            yield Problem('class not in val', root, name, f'{train}, none in {VAL}')
    used = [(number, name) for name, number in in_train.items() if number]
    if used and max(used)[0] >= UNBALANCED * min(used)[0]:
        (fewest, rare), (most, frequent) = min(used), max(used)
        message = f'{most} of {frequent} and {fewest} of {rare} in {TRAIN}'
        yield Problem('classes unbalanced', root, '', message)


def check_empty(images: Sequence[ImageBoxes], root: str) -> Iterator[Problem]:
    """Count the images of each split that show nothing."""
    totals = Counter(image.image.split for image in images)
    empty = Counter(image.image.split for image in images if not len(image.edges))
    for split, number in empty.items():
        message = f'{number} of {totals[split]} images ({100 * number / totals[split]:.0f} %)'
        yield Problem('images without boxes', root, split, message)
