"""Read ``metrics.jsonl`` of a run folder, whose lines may be damaged or of a later version."""

from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

METRICS_FILE = 'metrics.jsonl'


@dataclass(frozen=True)
class EpochMetrics:
    """One epoch of training; None for what was not measured."""

    step: float
    loss: float | None
    class_loss: float | None
    box_loss: float | None
    map50: float | None
    learning_rate: float | None


def parse_row(line: bytes) -> dict[str, Any] | None:
    """Parse one line; None if it is damaged or does not say to which epoch or step it belongs."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or 'kind' not in row:
        return None
    return row if _number(row, 'epoch' if row['kind'] == 'epoch' else 'step') is not None else None


def read_epochs(checkpoint: str) -> list[EpochMetrics]:
    """
    Read the epochs of the run that wrote a checkpoint, without damaged lines.

    :param checkpoint: a path or URL; there are no epochs for a URL or outside of a run folder.
    """
    path = Path(checkpoint)
    if '://' in checkpoint or path.parent.name != 'checkpoints':
        return []
    try:
        lines = (path.parent.parent / METRICS_FILE).read_bytes().splitlines()
    except OSError:
        return []
    rows = [row for row in map(parse_row, lines) if row and row['kind'] == 'epoch']
    names = ('loss', 'class_loss', 'box_loss', 'map50', 'learning_rate')
    return [
        EpochMetrics(step, *(_number(row, name) for name in names))
        for row in rows
        if (step := _number(row, 'step')) is not None
    ]


def _number(row: dict[str, Any], name: str) -> float | None:
    value = row.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
