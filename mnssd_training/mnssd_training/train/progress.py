"""Count how far a run is; the counters are part of a checkpoint."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

METRICS = ('loss', 'class_loss', 'box_loss', 'gradient_norm')


@dataclass
class RunningMean:
    """Mean of the metrics of some steps; ``values`` are the sums, in the order of ``METRICS``."""

    steps: int = 0
    values: list[float] = field(default_factory=lambda: [0.0] * len(METRICS))

    def add(self, values: Sequence[float]) -> None:
        """Add a step; a gradient norm that overflows in fp16 counts as 0."""
        self.steps += 1
        self.values = [
            total + (value if isfinite(value) else 0.0)
            for total, value in zip(self.values, values)
        ]

    def means(self) -> dict[str, float]:
        """Compute the means by name."""
        return {name: value / max(1, self.steps) for name, value in zip(METRICS, self.values)}


@dataclass
class Progress:
    """Progress of a run."""

    step: int = 0  # finished steps
    epoch: int = 0  # finished epochs, validation included
    best_score: float = -1.0  # of all evaluations; -1 before the first
    evals_since_best: int = 0
    row_mean: RunningMean = field(default_factory=RunningMean)  # since the last metrics row
    epoch_mean: RunningMean = field(default_factory=RunningMean)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data, under the keys of checkpoint schema 2."""
        return {
            'step': self.step,
            'epoch': self.epoch,
            'best': self.best_score,
            'stale': self.evals_since_best,
            'since_row': asdict(self.row_mean),
            'since_epoch': asdict(self.epoch_mean),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> 'Progress':
        """Read what :meth:`to_dict` wrote; KeyError, TypeError or ValueError for other content."""
        return cls(
            int(content['step']),
            int(content['epoch']),
            float(content['best']),
            int(content['stale']),
            RunningMean(**content['since_row']),
            RunningMean(**content['since_epoch']),
        )
