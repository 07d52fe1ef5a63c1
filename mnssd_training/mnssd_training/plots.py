"""
Plots for self-contained pages: matplotlib figures as SVG in data URIs.

matplotlib is imported on use, because few commands draw. Text becomes outlines, so a page looks
the same on any machine; names are never read as mathematics.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
import io
from typing import Any, TYPE_CHECKING
import warnings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# People with any colour vision tell these apart (Okabe and Ito, Color Universal Design, 2008).
COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c6d1f', '#7f7f7f')
DASHES = ('solid', 'dashed', 'dotted')

PANEL_SIZE = (4.4, 3.3)  # inches of 72 points
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


@dataclass(frozen=True)
class Line:
    """
    One line of a plot.

    :ivar x: values; NaN interrupts the line.
    :ivar y: as many.
    :ivar name: in the legend; empty for none.
    :ivar colour: number of its colour, counted past the last of :data:`COLOURS` with dashes.
    :ivar mark: a point to mark, or None.
    :ivar is_bold: drawn thicker than the others.
    :ivar is_dashed: dashed whatever its colour.
    :ivar has_points: every value is marked.
    """

    x: Sequence[float]
    y: Sequence[float]
    name: str = ''
    colour: int = 0
    mark: tuple[float, float] | None = None
    is_bold: bool = False
    is_dashed: bool = False
    has_points: bool = False


@dataclass(frozen=True)
class Lines:
    """
    Lines over one another.

    :ivar title: above the plot.
    :ivar x_label: with the unit.
    :ivar y_label: with the unit.
    :ivar lines: in the order of the legend.
    :ivar x_range: of the axis; None for that of the values.
    :ivar y_range: of the axis; None for that of the values.
    :ivar is_step: y is constant to the left of each x, as on the envelope of a curve.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    x_range: tuple[float, float] | None = (0, 1)
    y_range: tuple[float, float] | None = (0, 1)
    is_step: bool = False


@dataclass(frozen=True)
class Bars:
    """
    A count for each name or range, written above its bar.

    :ivar title: above the plot.
    :ivar x_label: with the unit.
    :ivar y_label: what is counted.
    :ivar counts: one a bar.
    :ivar names: one a bar; or one more, at the edges of the bars.
    :ivar colour: number of the colour.
    """

    title: str
    x_label: str
    y_label: str
    counts: Sequence[int]
    names: Sequence[str]
    colour: int = 0


@dataclass(frozen=True)
class HeatMap:
    """
    Counts over an image, with a scale beside it.

    :ivar title: above the plot.
    :ivar counts: rows from the top.
    :ivar aspect: width over height of the image.
    """

    title: str
    counts: Sequence[Sequence[int]] = field(repr=False)
    aspect: float = 1.25


Plot = Lines | Bars | HeatMap


def line_style(colour: int) -> tuple[str, str]:
    """
    Choose how a line is drawn.

    :param colour: number of the line.
    :return: CSS colour, and ``solid``, ``dashed`` or ``dotted``.
    """
    return COLOURS[colour % len(COLOURS)], DASHES[colour // len(COLOURS) % len(DASHES)]


def plot_data_uri(plots: Sequence[Plot], columns: int = 3) -> str:
    """
    Draw plots beside and below one another.

    :param plots: at least one.
    :param columns: plots in a row, at most.
    :return: an SVG image as a data URI.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(columns, len(plots))
    rows = -(-len(plots) // columns)
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Glyph .* missing')  # a class name in rare script
        figure = Figure(
            (PANEL_SIZE[0] * columns, PANEL_SIZE[1] * rows),
            layout=ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.1),
        )
        every = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, plot in zip(every, plots):
            axes.set_title(plot.title)
            if isinstance(plot, Lines):
                _draw_lines(axes, plot)
            elif isinstance(plot, Bars):
                _draw_bars(axes, plot)
            else:
                _draw_heat_map(figure, axes, plot)
        for axes in every[len(plots) :]:
            axes.axis('off')
        buffer = io.BytesIO()
        figure.savefig(buffer, format='svg', metadata={'Date': None})
    return f'data:image/svg+xml;base64,{b64encode(buffer.getvalue()).decode()}'


def _draw_lines(axes: 'Axes', plot: Lines) -> None:
    """Draw lines, their marked points and a legend."""
    for line in plot.lines:
        colour, dash = line_style(line.colour)
        axes.plot(
            line.x,
            line.y,
            color=colour,
            linestyle='dashed' if line.is_dashed else dash,
            linewidth=2.6 if line.is_bold else 1.5,
            drawstyle='steps-pre' if plot.is_step else 'default',
            marker='.' if line.has_points else None,
            label=line.name or '_',
        )
        if line.mark:
            axes.plot(*line.mark, 'o', color=colour, markersize=5)
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    for limits, set_limits in ((plot.x_range, axes.set_xlim), (plot.y_range, axes.set_ylim)):
        if limits:
            margin = 0.02 * (limits[1] - limits[0])  # a line on the edge shows, too
            set_limits(limits[0] - margin, limits[1] + margin)
    if any(line.name for line in plot.lines):
        axes.legend(fontsize=8, framealpha=0.8)


def _draw_bars(axes: 'Axes', plot: Bars) -> None:
    """Draw bars with their counts."""
    from matplotlib.ticker import MaxNLocator

    places = range(len(plot.counts))
    edges = len(plot.names) == len(plot.counts) + 1
    bars = axes.bar(places, plot.counts, width=0.92, color=line_style(plot.colour)[0])
    if len(plot.counts) <= 20:  # labels of more would overlap; the axis says the scale
        labels = [str(count) if count else '' for count in plot.counts]
        axes.bar_label(bars, labels, fontsize=7, padding=1)
    is_long = max((len(name) for name in plot.names), default=0) > 5
    step = max(1, -(-len(plot.names) // (40 if is_long else 10)))
    ticks = list(range(0, len(plot.names), step))
    axes.set_xticks(
        [tick - 0.5 if edges else tick for tick in ticks],
        [plot.names[tick] for tick in ticks],
        fontsize=8,
        rotation=35 if is_long else 0,
        horizontalalignment='right' if is_long else 'center',
        rotation_mode='anchor',
    )
    axes.grid(visible=False, axis='x')
    axes.margins(y=0.12)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)


def _draw_heat_map(figure: 'Figure', axes: 'Axes', plot: HeatMap) -> None:
    """Draw counts as shades over the width and height of an image."""
    shades = axes.imshow(
        plot.counts, cmap='viridis', extent=(0, 1, 1, 0), aspect=1 / plot.aspect, vmin=0
    )
    axes.grid(visible=False)
    axes.set_xlabel('x / image width')
    axes.set_ylabel('y / image height')
    figure.colorbar(shades, ax=axes, label='objects')
