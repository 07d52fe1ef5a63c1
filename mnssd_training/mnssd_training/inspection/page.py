"""Parts of a page to one HTML file that needs no other."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ['bars', 'heat_map', 'page', 'picture', 'table']

# Readable by day and by night, on paper and on a phone.
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0; }
td, th { padding: .2rem .8rem .2rem 0; text-align: right; border-bottom: 1px solid #8884; }
td:first-child, th:first-child { text-align: left; }
figure { display: inline-block; margin: 0 1.5rem 1.5rem 0; vertical-align: top; }
figcaption { color: #888; }
img { max-width: 100%; }
.scroll { overflow-x: auto; }
"""
BAR, HEIGHT = 14, 90  # pixels
HOT = '#e0a000'


def page(title: str, parts: Sequence[str]) -> str:
    """
    Put a page together.

    :param title: of the page.
    :param parts: HTML.
    :return: the page.
    """
    body = '\n'.join(parts)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">'
        f'<title>{escape(title)}</title><style>{STYLE}</style></head>'
        f'<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n'
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """
    Lay rows out.

    :param head: titles of the columns.
    :param rows: their values.
    :return: HTML.
    """
    lines = [''.join(f'<th>{escape(title)}</th>' for title in head)]
    lines += [''.join(f'<td>{escape(str(value))}</td>' for value in row) for row in rows]
    return f'<div class="scroll"><table>{"".join(f"<tr>{x}</tr>" for x in lines)}</table></div>'


def bars(caption: str, values: Mapping[str, float]) -> str:
    """
    Draw a bar for each value.

    :param caption: what they are.
    :param values: name to value, not negative.
    :return: HTML with an SVG; a pointer over a bar shows its value.
    """
    top = max(values.values(), default=0) or 1
    drawn = []
    for index, (name, value) in enumerate(values.items()):
        high = HEIGHT * value / top
        drawn.append(
            f'<rect x="{index * BAR + 1}" y="{HEIGHT - high:.1f}" width="{BAR - 2}" '
            f'height="{high:.1f}" fill="{HOT}"><title>{escape(name)}: {value:g}</title></rect>'
        )
    width = max(len(values), 1) * BAR
    ends = f'{escape(next(iter(values)))} to {escape(list(values)[-1])}' if values else 'nothing'
    return (
        f'<figure><svg width="{width}" height="{HEIGHT}" role="img">{"".join(drawn)}</svg>'
        f'<figcaption>{escape(caption)}<br>{ends}</figcaption></figure>'
    )


def heat_map(caption: str, counts: Sequence[Sequence[int]], cell: int = 12) -> str:
    """
    Draw where there is much.

    :param caption: what it is.
    :param counts: rows of numbers, not negative.
    :param cell: side of a cell, pixels.
    :return: HTML with an SVG; a pointer over a cell shows its number.
    """
    top = max((max(row, default=0) for row in counts), default=0) or 1
    drawn = [
        f'<rect x="{x * cell}" y="{y * cell}" width="{cell}" height="{cell}" fill="{HOT}" '
        f'fill-opacity="{number / top:.3f}"><title>{number}</title></rect>'
        for y, row in enumerate(counts)
        for x, number in enumerate(row)
    ]
    width, height = cell * len(counts[0]) if counts else 0, cell * len(counts)
    return (
        f'<figure><svg width="{width}" height="{height}" role="img" '
        f'style="outline:1px solid #8888">{"".join(drawn)}</svg>'
        f'<figcaption>{escape(caption)}</figcaption></figure>'
    )


def picture(caption: str, image: NDArray[np.uint8]) -> str:
    """
    Put a photograph in.

    :param caption: what it shows.
    :param image: ``(H, W, 3)`` uint8 RGB.
    :return: HTML with the photograph as JPEG.
    """
    encoded = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    data = b64encode(encoded.tobytes()).decode()
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="{escape(caption)}">'
        f'<figcaption>{escape(caption)}</figcaption></figure>'
    )
