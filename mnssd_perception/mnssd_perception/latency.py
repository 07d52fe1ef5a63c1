"""Statistics of recent durations."""

from collections import deque

import numpy as np


class LatencyWindow:
    """The last durations that were measured [s]."""

    def __init__(self, size: int = 300) -> None:
        self._seconds: deque[float] = deque(maxlen=size)

    def __len__(self) -> int:
        """Return the number of durations."""
        return len(self._seconds)

    def add(self, seconds: float) -> None:
        """Add a duration, in place of the oldest where the window is full."""
        self._seconds.append(seconds)

    def percentile(self, percent: float) -> float:
        """Return a percentile, given from 0 to 100; 0 when the window is empty."""
        return float(np.percentile(self._seconds, percent)) if self._seconds else 0.0

    def mean(self) -> float:
        """Return the mean; 0 when the window is empty."""
        return float(np.mean(self._seconds)) if self._seconds else 0.0

    def clear(self) -> None:
        """Remove all durations."""
        self._seconds.clear()
