"""Perceptual hashes to pairs of images that look alike."""

from collections.abc import Iterator

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
    Find all pairs of hashes that differ by few bits.

    :param hashes: ``(N, bits)``.
    :param limit: largest number of differing bits.
    :return: index, larger index and differing bits of each pair.
    """
    num, bits = hashes.shape
    signs = hashes.astype(np.float32) * 2 - 1
    for start in range(0, num, BLOCK):
        # Equal bits add 1 to the product, differing ones take 1 off; exact below 2 ** 24.
        differing = (bits - signs[start : start + BLOCK] @ signs[start:].T) / 2
        for row, column in zip(*np.nonzero(np.triu(differing <= limit, 1))):
            yield start + int(row), start + int(column), int(differing[row, column])
