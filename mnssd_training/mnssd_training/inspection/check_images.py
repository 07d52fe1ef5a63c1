"""Check image files, alone and beside each other."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mnssd_training.data.problems import Problem
from mnssd_training.data.remote import ShardEntry
from mnssd_training.inspection.image_boxes import CheckedImage
from mnssd_training.inspection.image_facts import HASH_SIDE, ImageFacts
import numpy as np
from numpy.typing import NDArray

# Differing bits of 256. Frames of one flight a few seconds apart differ by 5 to 20, one image
# saved again smaller or darker by less; images of two flights by more than 60, and where there
# is nothing but water by more than 35 (measured on HIT-UAV, aerial cars and SeaDronesSee).
LIMIT = 20
BLOCK = 2048  # rows that are compared at a time


def check_image(image: CheckedImage) -> Iterator[Problem]:
    """Find what is wrong with one image file."""
    record, facts = image.record, image.facts
    file = str(record.path)
    if facts is None:  # reported by the parser
        return
    if facts.error:
        yield Problem('image unreadable', file, '', facts.error)
        return
    if record.size is not None and record.size != facts.size:
        height, width = facts.size
        message = f'{width} x {height} pixels, annotated as {record.size[1]} x {record.size[0]}'
        yield Problem('size differs', file, '', message)
    if facts.orientation != 1:
        message = f'EXIF orientation {facts.orientation}: the image is rotated upright'
        yield Problem('orientation set', file, '', message)
    if not facts.is_8_bit:
        yield Problem('not 8 bit', file, '', 'a channel has more than 8 bits')


def check_colours(images: Sequence[CheckedImage]) -> Iterator[Problem]:
    """Find grey images among coloured ones, and the other way round."""
    by_path = {image.record.path: image.facts for image in images}
    readable = [facts for facts in by_path.values() if facts is not None and not facts.error]
    grey = [facts for facts in readable if facts.is_grey]
    coloured = [facts for facts in readable if not facts.is_grey]
    if grey and coloured:
        minority, kind = coloured, 'colour among grey'
        if len(grey) <= len(coloured):
            minority, kind = grey, 'grey among colour'
        message = f'one of {len(minority)} of {len(readable)} images'
        yield from (Problem(kind, str(facts.path), '', message) for facts in minority)
    for facts in grey:
        if facts.has_channels:
            message = 'all channels are the same'
            yield Problem('grey stored as colour', str(facts.path), '', message)


def check_splits(images: Sequence[CheckedImage]) -> Iterator[Problem]:
    """Find images that are on the lists of two splits."""
    first_splits: dict[Path | ShardEntry, str] = {}
    for image in images:
        first = first_splits.setdefault(image.record.path, image.split)
        if first != image.split:
            message = f'in {first} and in {image.split}'
            yield Problem('in two splits', str(image.record.path), '', message)


def find_near_duplicates(
    hashes: NDArray[np.bool_], limit: int = LIMIT
) -> Iterator[tuple[int, int, int]]:
    """Yield index, larger index and number of differing bits of similar hashes ``(N, bits)``."""
    num, bits = hashes.shape
    signs = hashes.astype(np.float32) * 2 - 1
    for start in range(0, num, BLOCK):
        # Equal bits add 1 to the product, differing ones subtract 1; exact below 2 ** 24.
        differing = (bits - signs[start : start + BLOCK] @ signs[start:].T) / 2
        for row, column in zip(*np.nonzero(np.triu(differing <= limit, 1))):
            yield start + int(row), start + int(column), int(differing[row, column])


def check_duplicates(images: Sequence[CheckedImage]) -> Iterator[Problem]:
    """Find images that are the same as others or look like them, each with its nearest partner."""
    first_of_path = {image.record.path: image for image in reversed(images)}
    candidates = [
        (image.split, image.facts)
        for image in first_of_path.values()
        if image.facts is not None and not image.facts.error
    ]
    candidates.sort(key=lambda item: str(item[1].path))
    first_of_digest: dict[str, tuple[str, ImageFacts]] = {}
    distinct = []
    for split, facts in candidates:
        other_split, other = first_of_digest.setdefault(facts.digest, (split, facts))
        if other is facts:
            distinct.append((split, facts))
            continue
        kind = 'same image twice' if split == other_split else 'same image in two splits'
        message = f'({split}) is the same file as {other.path.name} ({other_split})'
        yield Problem(kind, str(facts.path), '', message)
    hashes = np.array([facts.hash for _, facts in distinct], np.bool_).reshape(-1, HASH_SIDE**2)
    nearest: dict[tuple[int, bool], tuple[int, int]] = {}
    for earlier, later, bits in find_near_duplicates(hashes):
        # Each image gets its nearest partner in its own split and in another one.
        key = (later, distinct[earlier][0] != distinct[later][0])
        nearest[key] = min(nearest.get(key, (bits, earlier)), (bits, earlier))
    for (later, crosses), (bits, earlier) in sorted(nearest.items()):
        kind = 'like image in two splits' if crosses else 'like images'
        (split, facts), (other_split, other) = distinct[later], distinct[earlier]
        message = (
            f'({split}) looks like {other.path.name} ({other_split}): '
            f'{bits} of {HASH_SIDE**2} bits differ'
        )
        yield Problem(kind, str(facts.path), '', message)
