"""Draw a report as SVG, which needs no library."""

from collections.abc import Iterator
from html import escape

from mnssd_perception.benchmark.report import Report, Run, STAGES

COLOURS = {'resize': '#4c9f70', 'infer': '#3b6fb6', 'postprocess': '#d9822b'}
WIDTH, ROW, LEFT, BARS, GAP = 1100, 46, 250, 460, 40  # pixels
TRACE = WIDTH - LEFT - BARS - 2 * GAP


def plot_report(report: Report) -> str:
    """
    Draw one row for each run.

    It shows the medians of the stages, a line to the p95 of the total, and the time of every frame
    in order. All have one scale, which starts at 0.
    """
    slowest = max((run.stages['total'].p95 for run in report.runs), default=0.0) or 1.0
    height = 90 + ROW * len(report.runs)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>',
        _text(10, 20, f'{report.bundle}, {report.images}'),
        _text(10, 38, f'{report.host.machine or report.host.cpu}, {report.host.num_cores} cores'),
        _text(LEFT + BARS + GAP, 58, f'every frame, 0 to {slowest:.1f} ms'),
    ]
    for number, stage in enumerate(STAGES[:3]):
        x = LEFT + 110 * number
        parts.append(f'<rect x="{x}" y="48" width="10" height="10" fill="{COLOURS[stage]}"/>')
        parts.append(_text(x + 14, 58, stage))
    for number, run in enumerate(report.runs):
        parts.extend(_draw_run(run, 70 + ROW * number, slowest))
    return '\n'.join([*parts, '</svg>', ''])


def _draw_run(run: Run, top: int, slowest: float) -> Iterator[str]:
    yield _text(10, top + 20, run.name)
    x, scale = float(LEFT), BARS / slowest
    for stage in STAGES[:3]:
        width = run.stages[stage].p50 * scale
        yield (
            f'<rect x="{x:.1f}" y="{top + 6}" width="{width:.1f}" height="20" '
            f'fill="{COLOURS[stage]}"/>'
        )
        x += width
    total = run.stages['total']
    end = LEFT + total.p95 * scale
    yield f'<path d="M{x:.1f} {top + 16}H{end:.1f}M{end:.1f} {top + 10}v12" stroke="black"/>'
    yield _text(LEFT, top + 40, f'p50 {total.p50:.2f}, p95 {total.p95:.2f} ms')
    left, last = LEFT + BARS + GAP, max(len(run.total_ms) - 1, 1)
    yield f'<path d="M{left} {top + 36}h{TRACE}" stroke="#cccccc"/>'
    points = ' '.join(
        f'{left + TRACE * index / last:.1f},{top + 36 - 32 * min(value / slowest, 1):.1f}'
        for index, value in enumerate(run.total_ms)
    )
    yield f'<polyline points="{points}" fill="none" stroke="{COLOURS["infer"]}"/>'


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x}" y="{y}">{escape(text)}</text>'
