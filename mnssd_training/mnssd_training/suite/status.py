"""Read how far a run of a suite is from the files in its run folder."""

from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

from mnssd_training.metrics_file import METRICS_FILE, parse_row
from mnssd_training.suite.plan import SuiteRun

LOG_FILE = 'output.log'  # stdout and stderr of the run
TAIL = 200_000  # bytes of the metrics that hold the last evaluation


@dataclass(frozen=True)
class RunStatus:
    """
    State of a run.

    :ivar state: of ``status.json``; without one ``failed`` if the run said why, else ``missing``.
    :ivar row: the last row of the metrics; empty before the first.
    :ivar epoch: the last row of an epoch; so is ``evaluated``, with an evaluation.
    """

    state: str
    reason: str
    row: dict[str, Any]
    epoch: dict[str, Any]
    evaluated: dict[str, Any]


def read_status(folder: Path) -> RunStatus:
    """Read the state of a run; a damaged file counts as none."""
    try:
        status = json.loads((folder / 'status.json').read_bytes())
        state, reason = str(status['status']), str(status['reason'])
    except (OSError, ValueError, KeyError, TypeError):
        reason = last_message(folder)
        state = 'failed' if reason else 'missing'
    rows = [row for row in map(parse_row, _read_tail(folder / METRICS_FILE)) if row]
    epochs = [row for row in rows if row['kind'] == 'epoch']
    evaluated = [row for row in epochs if 'ap50' in row]
    last = (kind[-1] if kind else {} for kind in (rows, epochs, evaluated))
    return RunStatus(state, reason, *last)


def format_progress(run: SuiteRun) -> str:
    """Describe a run in progress in a few words."""
    row = read_status(run.folder).row
    if not row:
        return f'{run.name} starts'
    epochs = run.experiment.training.epochs
    return (
        f'{run.name} {row["epoch"]:.1f}/{epochs}, loss {row.get("loss", 0):.2f}, '
        f'{row.get("images_per_second", 0):.0f}/s'
    )


def last_message(folder: Path) -> str:
    """Return the last line that a run printed, empty if there is none."""
    lines = [line.decode(errors='replace').strip() for line in _read_tail(folder / LOG_FILE)]
    return next(filter(None, reversed(lines)), '').removeprefix('error: ')


def _read_tail(path: Path) -> list[bytes]:
    try:
        with path.open('rb') as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL))
            return file.read().splitlines()
    except OSError:
        return []
