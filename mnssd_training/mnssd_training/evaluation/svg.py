"""Curves to an inline SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ['COLOURS', 'Curve', 'draw_curves', 'style']

# People with any colour vision tell these apart (Okabe and Ito, Color Universal Design, 2008).
COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c6d1f', '#7f7f7f')
DASHES = ('', '7 4', '2 3')

WIDTH, HEIGHT = 460, 340
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 44


@dataclass(frozen=True)
class Curve:
    """
    A line to draw.

    :ivar name: for who hovers over it.
    :ivar x: values in [0, 1].
    :ivar y: values in [0, 1], as many.
    :ivar mark: a point to mark, or None.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    mark: tuple[float, float] | None = None


def draw_curves(curves: Sequence[Curve], x_label: str, y_label: str) -> str:
    """
    Draw curves over one another.

    :param curves: coloured in their order.
    :param x_label: under the x axis.
    :param y_label: beside the y axis.
    :return: the ``svg`` element; text takes the colour of the page.
    """
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(y_label)} over {escape(x_label)}">'
    ]
    for tick in range(6):
        value = tick / 5
        x, y = _place(value, value)
        parts.append(
            f'<path class="grid" fill="none" d="M{x} {_place(0, 0)[1]}V{_place(0, 1)[1]}'
            f'M{_place(0, 0)[0]} {y}H{_place(1, 0)[0]}"/>'
            f'<text x="{x}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:.1f}</text>'
            f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{value:.1f}</text>'
        )
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
        f'{escape(x_label)}</text>'
        f'<text x="12" y="{middle}" text-anchor="middle" '
        f'transform="rotate(-90 12 {middle})">{escape(y_label)}</text>'
    )
    for index, curve in enumerate(curves):
        colour, dash = style(index)
        points = ' '.join(f'{x},{y}' for x, y in map(_place, curve.x, curve.y))
        parts.append(
            f'<polyline class="curve" points="{points}" fill="none" stroke="{colour}" '
            f'stroke-dasharray="{dash}"><title>{escape(curve.name)}</title></polyline>'
        )
        if curve.mark:
            x, y = _place(*curve.mark)
            parts.append(f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>')
    return ''.join([*parts, '</svg>'])


def style(index: int) -> tuple[str, str]:
    """
    Choose how a curve is drawn.

    :param index: of the curve.
    :return: its colour and its dashes.
    """
    return COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % len(DASHES)]


def _place(x: float, y: float) -> tuple[float, float]:
    """Bring values in [0, 1] to the drawing."""
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    return round(LEFT + x * wide, 1), round(HEIGHT - BOTTOM - y * high, 1)
