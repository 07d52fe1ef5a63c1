"""Check the objects of each class in each split."""

from collections import Counter
from collections.abc import Iterator, Sequence

from mnssd_training.data.problems import Problem
from mnssd_training.inspection.image_boxes import ImageBoxes

RARE = 50  # boxes to train on; a class with fewer is hardly learned
UNBALANCED = 30.0  # most frequent class over least frequent


def check_classes(
    images: Sequence[ImageBoxes], class_names: Sequence[str], train: str, val: str, root: str
) -> Iterator[Problem]:
    """
    Find classes that cannot be learned or cannot be scored.

    :param train: name of the training split.
    :param val: name of the validation split.
    :param root: of the dataset, for the problems.
    """
    counts: dict[str, Counter[str]] = {}
    for image in images:
        counter = counts.setdefault(image.image.split, Counter())
        counter.update(class_names[label] for label in image.labels[image.is_object])
    in_train, in_val = counts.get(train, Counter()), counts.get(val, Counter())
    has_both = train in counts and val in counts
    in_any = sum(counts.values(), Counter())
    for name in class_names:
        if not in_any[name]:
            yield Problem('class unused', root, name, 'no box of it in any split')
            continue
        if has_both and not in_train[name] and in_val[name]:
            message = f'{in_val[name]} boxes in {val}, none in {train}'
            yield Problem('class only in val', root, name, message)
        elif train in counts and 0 < in_train[name] < RARE:
            yield Problem('class rare', root, name, f'{in_train[name]} boxes in {train}')
        if has_both and in_train[name] and not in_val[name]:
            message = f'{in_train[name]} boxes in {train}, none in {val}'
            yield Problem('class not in val', root, name, message)
    used = [(number, name) for name, number in in_train.items() if number]
    if used and max(used)[0] >= UNBALANCED * min(used)[0]:
        (fewest, rare), (most, frequent) = min(used), max(used)
        message = f'{most} of {frequent} and {fewest} of {rare} in {train}'
        yield Problem('classes unbalanced', root, '', message)


def check_empty(images: Sequence[ImageBoxes], root: str) -> Iterator[Problem]:
    """Count the images of each split that show nothing."""
    totals = Counter(image.image.split for image in images)
    empty = Counter(image.image.split for image in images if not len(image.edges))
    for split, number in empty.items():
        share = 100 * number / totals[split]
        message = f'{number} of {totals[split]} images ({share:.0f} %)'
        yield Problem('images without boxes', root, split, message)
