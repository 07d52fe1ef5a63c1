"""How the training of a checkpoint went, from the folder of its run."""

from collections.abc import Sequence
import json
from pathlib import Path
from typing import Any

from mnssd_training.plots import Line, Lines

ROWS = 'metrics.jsonl'


def read_history(checkpoint: str) -> list[dict[str, Any]]:
    """
    Read the epochs of the run that wrote a checkpoint.

    :param checkpoint: a path or an address.
    :return: a row an epoch; none for an address or a checkpoint that is not in its run folder.
        Lines that are damaged or of a schema that is not known here are left out.
    """
    path = Path(checkpoint)
    if '://' in checkpoint or path.parent.name != 'checkpoints':
        return []
    try:
        lines = (path.parent.parent / ROWS).read_text('utf-8', errors='replace').splitlines()
    except OSError:
        return []
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and row.get('kind') == 'epoch' and _number(row.get('step')):
            rows.append(row)
    return rows


def history_plots(rows: Sequence[dict[str, Any]]) -> list[Lines]:
    """
    Plot losses, learning rate and scores over the steps of training.

    :param rows: see :func:`read_history`.
    :return: the plots; none without a row.
    """

    def line(key: str, name: str = '', colour: int = 0) -> Line:
        points = [(row['step'], row[key]) for row in rows if _number(row.get(key))]
        x, y = zip(*points) if points else ((), ())
        return Line(x, y, name, colour, has_points=len(points) < 30)

    def plot(title: str, y_label: str, *lines: Line) -> Lines:
        return Lines(title, 'step', y_label, lines, None, None)

    losses = (
        line('loss', 'total', 0),
        line('class_loss', 'classification', 1),
        line('box_loss', 'boxes', 2),
    )
    plots = [
        plot('training loss', 'mean of the epoch', *losses),
        plot('validation score', 'mean VOC AP50', line('map50')),
        plot('learning rate', 'at the end of the epoch', line('learning_rate')),
    ]
    return [one for one in plots if any(len(drawn.x) for drawn in one.lines)]


def _number(value: object) -> bool:
    """Tell numbers that can be plotted."""
    return isinstance(value, int | float) and not isinstance(value, bool)
