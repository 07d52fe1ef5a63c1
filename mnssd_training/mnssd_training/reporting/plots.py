"""
Draw charts with matplotlib, as SVG for a self-contained page or as an image.

matplotlib is imported on use, because few commands draw. In SVG, text becomes outlines, so a page
looks the same on any machine; names are never read as mathematics.
"""

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
import io
from typing import Any, Literal, TYPE_CHECKING
import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# People with any colour vision tell these apart (Okabe and Ito, Color Universal Design, 2008).
COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c6d1f', '#7f7f7f')
GREY = COLOURS[-1]
DASHES = ('solid', 'dashed', 'dotted')

PANEL_SIZE = (4.4, 3.3)  # inches of 72 points
DPI = 100
SETTINGS: Any = {
    'axes.axisbelow': True,
    'axes.grid': True,
    'axes.labelsize': 10,
    'axes.spines.right': False,
    'axes.spines.top': False,
    'axes.titlesize': 11,
    'font.family': 'DejaVu Sans',  # comes with matplotlib
    'font.size': 9,
    'grid.color': '#dddddd',
    'svg.fonttype': 'path',
    'svg.hashsalt': 'mnssd',  # equal plots are equal files
    'text.parse_math': False,
}

Chart = Callable[['Axes'], None]  # draws itself on the axes


@dataclass(frozen=True)
class Line:
    """One line of a chart, or points of one kind; dash and marker as in matplotlib."""

    x: ArrayLike
    y: ArrayLike  # NaN interrupts the line
    name: str = ''  # in the legend; empty for none
    colour: str = COLOURS[0]
    dash: str = 'solid'  # none for points alone
    marker: str = ''
    width: float = 1.5
    highlight: tuple[float, float] | None = None  # a point to mark


def line_style(index: int) -> tuple[str, str]:
    """Choose the CSS colour of a line and ``solid``, ``dashed`` or ``dotted``, by its number."""
    return COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % len(DASHES)]


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    lines: Sequence[Line],
    *,
    x_range: tuple[float, float] | None = (0, 1),
    y_range: tuple[float, float] | None = (0, 1),
    scales: tuple[Literal['linear', 'log'], Literal['linear', 'log']] = ('linear', 'linear'),
    is_step: bool = False,
) -> Chart:
    """
    Draw lines over one another.

    :param x_range: of the axis; None for that of the values.
    :param is_step: y is constant to the left of each x, as on the envelope of a curve.
    """

    def draw(axes: 'Axes') -> None:
        for line in lines:
            axes.plot(
                line.x,
                line.y,
                color=line.colour,
                linestyle=line.dash,
                linewidth=line.width,
                marker=line.marker,
                drawstyle='steps-pre' if is_step else 'default',
                label=line.name or '_',
            )
            if line.highlight:
                axes.plot(*line.highlight, 'o', color=line.colour, markersize=5)
        axes.set(title=title, xlabel=x_label, ylabel=y_label, xscale=scales[0], yscale=scales[1])
        for limits, set_limits in ((x_range, axes.set_xlim), (y_range, axes.set_ylim)):
            if limits:
                margin = 0.02 * (limits[1] - limits[0])  # a line on the edge shows, too
                set_limits(limits[0] - margin, limits[1] + margin)
        for axis, scale in zip((axes.xaxis, axes.yaxis), scales):
            if scale == 'log':
                _label_log_axis(axis)
        if any(line.name for line in lines):
            axes.legend(fontsize=8, framealpha=0.8)

    return draw


def _label_log_axis(axis: 'Axis') -> None:
    """Label 1, 2, 5, 10, or powers of ten alone on a long axis, without mathematics."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    axis.set_major_formatter('{x:g}')
    axis.set_minor_formatter(NullFormatter())


def bar_chart(
    title: str,
    x_label: str,
    y_label: str,
    counts: Sequence[int],
    names: Sequence[str],
    colour: str = GREY,
) -> Chart:
    """Draw bars with their counts above; one more name than counts names the edges of the bars."""

    def draw(axes: 'Axes') -> None:
        from matplotlib.ticker import MaxNLocator

        bars = axes.bar(range(len(counts)), counts, width=0.92, color=colour)
        if len(counts) <= 20:  # labels of more would overlap; the axis says the scale
            labels = [str(count) if count else '' for count in counts]
            axes.bar_label(bars, labels, fontsize=7, padding=1)
        is_long = max((len(name) for name in names), default=0) > 5
        step = max(1, -(-len(names) // (40 if is_long else 10)))
        shift = 0.5 if len(names) > len(counts) else 0.0
        axes.set_xticks(
            [tick - shift for tick in range(0, len(names), step)],
            names[::step],
            fontsize=8,
            rotation=35 if is_long else 0,
            horizontalalignment='right' if is_long else 'center',
            rotation_mode='anchor',
        )
        axes.grid(visible=False, axis='x')
        axes.margins(y=0.12)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(title=title, xlabel=x_label, ylabel=y_label)

    return draw


def heat_map(title: str, counts: Sequence[Sequence[int]], aspect: float = 1.25) -> Chart:
    """Draw counts, rows from the top, over an image with ``aspect`` width over height."""

    def draw(axes: 'Axes') -> None:
        shades = axes.imshow(
            counts, cmap='viridis', extent=(0, 1, 1, 0), aspect=1 / aspect, vmin=0
        )
        axes.grid(visible=False)
        axes.set(title=title, xlabel='x / image width', ylabel='y / image height')
        axes.figure.colorbar(shades, ax=axes, label='objects')

    return draw


def svg_data_uri(charts: Sequence[Chart], columns: int = 3) -> str:
    """Draw at least one chart, in rows of at most ``columns``, as SVG in a data URI."""
    columns = min(columns, len(charts))
    rows = -(-len(charts) // columns)
    buffer = io.BytesIO()
    with _figure(charts, rows, columns, PANEL_SIZE[0] * columns, PANEL_SIZE[1] * rows) as figure:
        figure.savefig(buffer, format='svg', metadata={'Date': None})
    return f'data:image/svg+xml;base64,{b64encode(buffer.getvalue()).decode()}'


def chart_image(chart: Chart, width: int = 960, height: int = 600) -> NDArray[np.uint8]:
    """Draw one chart as ``(height, width, 3)`` uint8 RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with _figure([chart], 1, 1, width / DPI, height / DPI) as figure:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.array(canvas.buffer_rgba())[..., :3]


@contextmanager
def _figure(
    charts: Sequence[Chart], rows: int, columns: int, width: float, height: float
) -> Iterator['Figure']:
    """Draw charts on one figure, in inches; our settings hold until it is left."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Glyph .* missing')  # a class name in rare script
        layout = ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.1)
        figure = Figure((width, height), dpi=DPI, layout=layout)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, chart in zip(panels, charts):
            chart(axes)
        for axes in panels[len(charts) :]:
            axes.axis('off')
        yield figure
