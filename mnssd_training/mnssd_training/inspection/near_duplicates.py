"""Find images that are the same file as another, or look like another."""

from collections.abc import Iterator, Sequence

from mnssd_training.data.problems import Problem
from mnssd_training.inspection.image_boxes import CheckedImage
from mnssd_training.inspection.image_facts import ImageFacts
import numpy as np
from numpy.typing import NDArray

# Differing bits of 256. Frames of one flight a few seconds apart differ by 5 to 20, one image
# saved again smaller or darker by less; images of two flights by more than 60, and where there
# is nothing but water by more than 35 (measured on HIT-UAV, aerial cars and SeaDronesSee).
LIMIT = 20
BLOCK = 2048  # rows that are compared at a time


def find_near_duplicates(
    hashes: NDArray[np.bool_], limit: int = LIMIT
) -> Iterator[tuple[int, int, int]]:
    """
    Yield index, larger index and differing bits of all pairs of hashes that differ by few bits.

    :param hashes: ``(N, bits)``.
    :param limit: largest number of differing bits.
    """
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
        yield Problem(kind, _file(facts), '', message)
    yield from _check_near_duplicates(distinct)


def _check_near_duplicates(images: Sequence[tuple[str, ImageFacts]]) -> Iterator[Problem]:
    """Find images that look like others, by (split, facts) of distinct files."""
    if not images:
        return
    hashes = np.array([facts.hash for _, facts in images], np.bool_)
    nearest: dict[tuple[int, bool], tuple[int, int]] = {}
    for earlier, later, bits in find_near_duplicates(hashes):
        # Each image gets its nearest partner in its own split and in another one.
        key = (later, images[earlier][0] != images[later][0])
        nearest[key] = min(nearest.get(key, (bits, earlier)), (bits, earlier))
    for (later, crosses), (bits, earlier) in sorted(nearest.items()):
        kind = 'like image in two splits' if crosses else 'like images'
        (split, facts), (other_split, other) = images[later], images[earlier]
        message = (
            f'({split}) looks like {other.path.name} ({other_split}): '
            f'{bits} of {hashes.shape[1]} bits differ'
        )
        yield Problem(kind, _file(facts), '', message)


def _file(facts: ImageFacts) -> str:
    return str(facts.path)
