"""Select the frames of a recording that are worth labelling, and split them by time."""

from collections.abc import Sequence

from mnssd_training.inspection.image_facts import perceptual_hash
import numpy as np
from numpy.typing import NDArray

MIN_DIFFERENCE = 12  # bits of 256


class FrameSelector:
    """
    Select frames of one recording, in the order in which they were recorded.

    :param min_interval_ns: shortest time between two selected frames.
    :param stride: select every Nth frame.
    :param min_difference: bits of 256 by which the perceptual hash of a frame must differ from
        those of all selected before; 0 selects repetitions, too.
    """

    def __init__(
        self, min_interval_ns: int = 0, stride: int = 1, min_difference: int = MIN_DIFFERENCE
    ) -> None:
        self.num_seen = 0
        self.num_duplicates = 0  # frames that looked like a selected one
        self._min_interval_ns = min_interval_ns
        self._stride = stride
        self._min_difference = min_difference
        self._last_ns: int | None = None
        self._hashes: list[NDArray[np.bool_]] = []

    def select(self, stamp_ns: int, image: NDArray[np.uint8]) -> bool:
        """Return whether to use the next frame, ``(H, W, 3)`` uint8 RGB."""
        index, self.num_seen = self.num_seen, self.num_seen + 1
        if index % self._stride:
            return False
        # A clock that was set back starts again.
        if self._last_ns is not None and 0 <= stamp_ns - self._last_ns < self._min_interval_ns:
            return False
        image_hash = perceptual_hash(image)
        differences = [np.count_nonzero(image_hash != other) for other in self._hashes]
        if differences and min(differences) < self._min_difference:
            self.num_duplicates += 1
            return False
        self._hashes.append(image_hash)
        self._last_ns = stamp_ns
        return True


def split_by_time(stamps_ns: Sequence[int], val_fraction: float, gap_ns: int) -> list[str]:
    """
    Put the end of a recording into the validation split.

    Consecutive frames show nearly the same, so that a random split would score what was memorised.

    :param val_fraction: part of the frames that is for validation, in [0, 1].
    :param gap_ns: training frames nearer to the first validation frame are in neither split.
    :return: ``train``, ``val`` or nothing, for each frame.
    """
    order = np.argsort(stamps_ns, kind='stable')
    num_train = len(order) - round(len(order) * val_fraction)
    splits = ['train'] * len(order)
    for rank, index in enumerate(order):
        if rank >= num_train:
            splits[index] = 'val'
        elif num_train < len(order) and stamps_ns[order[num_train]] - stamps_ns[index] < gap_ns:
            splits[index] = ''
    return splits
