"""Compare two reports of benchmarks."""

from collections.abc import Iterator, Sequence
from dataclasses import fields

from mnssd_perception.benchmark.host import Host
from mnssd_perception.benchmark.report import Report, Run
from mnssd_perception.commands import format_table
from mnssd_perception.text import sanitize_text


def compare_reports(first: Report, second: Report) -> str:
    """
    Compare the runs of two reports, paired by engine, precision, threads and batch.

    The only runs of two reports are compared whatever they are. A ratio is the median of the
    second over that of the first; its spread is that of the quartiles, which ignores how the
    noise of one run hangs together.
    """
    first_runs = {run.name: run for run in first.runs}
    second_runs = {run.name: run for run in second.runs}
    names = [name for name in first_runs if name in second_runs]
    pairs = [(first_runs[name], second_runs[name]) for name in names]
    if len(first_runs) == len(second_runs) == 1:
        pairs = list(zip(first.runs, second.runs))
    # Names come from another machine.
    lines = [sanitize_text(line, 400) for line in _differences(first, second, pairs)]
    header = ('run', 'stage', 'first p50 ms', 'second p50 ms', 'ratio', 'from', 'to')
    rows = [row for one, other in pairs for row in _rows(one, other)]
    return '\n'.join([*lines, format_table(header, rows) if rows else 'no run is in both'])


def _differences(first: Report, second: Report, pairs: Sequence[tuple[Run, Run]]) -> Iterator[str]:
    """List what makes a comparison doubtful."""
    for field in fields(Host):
        before, after = (getattr(report.host, field.name) for report in (first, second))
        if before != after and field.name != 'load':
            yield f'machines differ: {field.name}: {before!r} and {after!r}'
    for name in ('bundle', 'digest', 'images'):
        before, after = getattr(first, name), getattr(second, name)
        if before != after:
            yield f'{name} differs: {before} and {after}'
    for which, report, index in (('first', first, 0), ('second', second, 1)):
        paired = {pair[index].name for pair in pairs}
        for run in report.runs:
            if run.name not in paired:
                yield f'only in the {which}: {run.name}'
    for one, other in pairs:
        if one.description != other.description:
            yield f'engines differ: {one.description} and {other.description}'


def _rows(one: Run, other: Run) -> Iterator[tuple[str, ...]]:
    name = one.name if one.name == other.name else f'{one.name} -> {other.name}'
    for stage in one.stages:
        before, after = one.stages[stage], other.stages[stage]
        pairs = ((after.p50, before.p50), (after.p25, before.p75), (after.p75, before.p25))
        ratios = (f'{a / b:.2f}' if b else '-' for a, b in pairs)
        yield name, stage, f'{before.p50:.2f}', f'{after.p50:.2f}', *ratios
