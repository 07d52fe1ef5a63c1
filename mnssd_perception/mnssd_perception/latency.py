"""Recent durations to their percentiles."""

from collections import deque

import numpy as np


class LatencyWindow:
    """
    The last durations that were measured.

    :param size: how many are kept.
    """

    def __init__(self, size: int = 300) -> None:
        self._seconds: deque[float] = deque(maxlen=size)

    def __len__(self) -> int:
        """Count the durations that are kept."""
        return len(self._seconds)

    def add(self, seconds: float) -> None:
        """
        Keep one more duration, in place of the oldest where the window is full.

        :param seconds: the duration [s].
        """
        self._seconds.append(seconds)

    def percentile(self, percent: float) -> float:
        """
        Find the duration that ``percent`` of the kept ones do not exceed.

        :param percent: from 0 to 100.
        :return: the duration [s]; 0 when none is kept.
        """
        return float(np.percentile(self._seconds, percent)) if self._seconds else 0.0

    def mean(self) -> float:
        """
        Average the kept durations.

        :return: the mean [s]; 0 when none is kept.
        """
        return float(np.mean(self._seconds)) if self._seconds else 0.0

    def clear(self) -> None:
        """Forget all durations."""
        self._seconds.clear()
