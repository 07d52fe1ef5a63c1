"""The images of several splits to what one split tells of another."""

from collections.abc import Iterator, Mapping, Sequence

from mnssd_training.inspection.findings import Finding
from mnssd_training.inspection.look_alikes import find_near_duplicates
from mnssd_training.inspection.photograph import Photograph
from mnssd_training.inspection.records import Entry, Place
import numpy as np


def check_names(entries: Sequence[Entry]) -> Iterator[Finding]:
    """
    Find images that are on the lists of two splits.

    :param entries: the images of all splits.
    :return: the findings.
    """
    first: dict[Place, Entry] = {}
    for entry in entries:
        other = first.setdefault(entry.image, entry)
        if other.split != entry.split:
            words = f'in {other.split} and in {entry.split}'
            yield Finding('in two splits', str(entry.image), '', words)


def check_likeness(
    entries: Sequence[Entry], photographs: Mapping[Place, Photograph]
) -> Iterator[Finding]:
    """
    Find images that are the same as others, or look like them, in one split or in two.

    :param entries: the images of all splits.
    :param images: those that could be read, by path.
    :return: the findings; one an image, with its nearest partner.
    """
    split_of = {entry.image: entry.split for entry in reversed(entries)}
    found = [
        photographs[path]
        for path in split_of
        if path in photographs and not photographs[path].error
    ]
    found.sort(key=lambda photograph: str(photograph.path))
    first: dict[str, Photograph] = {}
    distinct = []
    for photograph in found:
        other = first.setdefault(photograph.digest, photograph)
        if other is photograph:
            distinct.append(photograph)
            continue
        here, there = split_of[photograph.path], split_of[other.path]
        kind = 'same image twice' if here == there else 'same image in two splits'
        words = f'({here}) is the same file as {other.path.name} ({there})'
        yield Finding(kind, str(photograph.path), '', words)
    yield from _check_nearness(distinct, split_of)


def _check_nearness(
    found: Sequence[Photograph], split_of: Mapping[Place, str]
) -> Iterator[Finding]:
    """Find images that look like others."""
    hashes = [photograph.hash for photograph in found if photograph.hash is not None]
    if not hashes:
        return
    nearest: dict[tuple[int, bool], tuple[int, int]] = {}
    for one, other, bits in find_near_duplicates(
        np.array(hashes, np.bool_).reshape(len(hashes), -1)
    ):
        crosses = split_of[found[one].path] != split_of[found[other].path]
        # Of images in two splits the one that scores are made of is named, else the later one.
        key = (other, crosses)
        nearest[key] = min(nearest.get(key, (bits, one)), (bits, one))
    for (other, crosses), (bits, one) in sorted(nearest.items()):
        kind = 'like image in two splits' if crosses else 'like images'
        here, there = found[other].path, found[one].path
        words = (
            f'({split_of[here]}) looks like {there.name} ({split_of[there]}): '
            f'{bits} of {len(hashes[one])} bits differ'
        )
        yield Finding(kind, str(here), '', words)
