"""The boxes of several splits to what is wrong with the choice of classes."""

from collections import Counter
from collections.abc import Iterator, Sequence

from mnssd_training.inspection.findings import Finding
from mnssd_training.inspection.placed import Placed

RARE = 50  # boxes to train on; a class with fewer is hardly learnt
UNBALANCED = 30.0  # most frequent class over least frequent


def count_boxes(placed: Sequence[Placed], class_names: Sequence[str]) -> dict[str, Counter[str]]:
    """
    Count objects.

    :param placed: the boxes of all images.
    :param class_names: in the order of their labels.
    :return: split to class to number of objects.
    """
    counts: dict[str, Counter[str]] = {}
    for item in placed:
        own = counts.setdefault(item.entry.split, Counter())
        own.update(class_names[label] for label in item.labels[item.is_object])
    return counts


def check_classes(
    placed: Sequence[Placed], class_names: Sequence[str], train: str, val: str, root: str
) -> Iterator[Finding]:
    """
    Find classes that cannot be learnt or cannot be scored.

    :param placed: the boxes of all images.
    :param class_names: in the order of their labels.
    :param train: name of the split to train on.
    :param val: name of the split to score on.
    :param root: the dataset, for the findings.
    :return: the findings.
    """
    counts = count_boxes(placed, class_names)
    to_train, to_score = counts.get(train, Counter()), counts.get(val, Counter())
    everywhere = sum(counts.values(), Counter())
    for name in class_names:
        if not everywhere[name]:
            yield Finding('class unused', root, name, 'no box of it in any split')
            continue
        if train in counts and val in counts and not to_train[name] and to_score[name]:
            words = f'{to_score[name]} boxes in {val}, none in {train}'
            yield Finding('class only in val', root, name, words)
        elif train in counts and 0 < to_train[name] < RARE:
            words = f'{to_train[name]} boxes in {train}'
            yield Finding('class rare', root, name, words)
        if train in counts and val in counts and to_train[name] and not to_score[name]:
            words = f'{to_train[name]} boxes in {train}, none in {val}'
            yield Finding('class not in val', root, name, words)
    used = [(number, name) for name, number in to_train.items() if number]
    if used and max(used)[0] >= UNBALANCED * min(used)[0]:
        (few, rare), (many, frequent) = min(used), max(used)
        words = f'{many} of {frequent} and {few} of {rare} in {train}'
        yield Finding('classes unbalanced', root, '', words)


def check_empty(placed: Sequence[Placed], root: str) -> Iterator[Finding]:
    """
    Tell how many images of each split show nothing.

    :param placed: the boxes of all images.
    :param root: the dataset, for the findings.
    :return: a finding a split with such images.
    """
    totals = Counter(item.entry.split for item in placed)
    empties = Counter(item.entry.split for item in placed if not len(item.edges))
    for split, number in empties.items():
        share = 100 * number / totals[split]
        words = f'{number} of {totals[split]} images ({share:.0f} %)'
        yield Finding('images without boxes', root, split, words)
