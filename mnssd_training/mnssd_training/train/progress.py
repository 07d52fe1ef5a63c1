"""How far a run is: all that is counted on the way, and comes back with a checkpoint."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

NAMES = ('loss', 'class_loss', 'box_loss', 'gradient_norm')


@dataclass
class Sums:
    """
    Sums over steps.

    :ivar steps: how many.
    :ivar values: of loss, class loss, box loss and norm of the gradient.
    """

    steps: int = 0
    values: list[float] = field(default_factory=lambda: [0.0] * len(NAMES))

    def add(self, values: Sequence[float]) -> None:
        """Count one step."""
        self.steps += 1
        self.values = [total + value for total, value in zip(self.values, values)]

    def means(self) -> dict[str, float]:
        """Tell the means by name."""
        return {name: value / max(1, self.steps) for name, value in zip(NAMES, self.values)}


@dataclass
class Progress:
    """
    How far a run is.

    :ivar step: steps done.
    :ivar epoch: epochs done, their scores included.
    :ivar best: the best score so far; -1 before the first.
    :ivar stale: scores since then.
    :ivar since_row: over the steps since the last row of numbers.
    :ivar since_epoch: over the steps of this epoch.
    """

    step: int = 0
    epoch: int = 0
    best: float = -1.0
    stale: int = 0
    since_row: Sums = field(default_factory=Sums)
    since_epoch: Sums = field(default_factory=Sums)

    def add(self, values: Sequence[float]) -> None:
        """Count the numbers of a step; an overflow of fp16 has no norm."""
        finite = [value if isfinite(value) else 0.0 for value in values]
        self.since_row.add(finite)
        self.since_epoch.add(finite)

    def to_plain(self) -> dict[str, Any]:
        """Turn into dicts, lists and numbers."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> 'Progress':
        """
        Read what :meth:`to_plain` made.

        :param plain: dicts, lists and numbers.
        :return: the same again.
        :raises KeyError: or TypeError or ValueError, if it is something else.
        """
        return cls(
            int(plain['step']),
            int(plain['epoch']),
            float(plain['best']),
            int(plain['stale']),
            Sums(**plain['since_row']),
            Sums(**plain['since_epoch']),
        )
