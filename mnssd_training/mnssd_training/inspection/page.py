"""Parts of a page to one HTML file that needs no other."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape

import cv2
from mnssd_training.plots import Plot, plot_data_uri
import numpy as np
from numpy.typing import NDArray

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
img.plot { display: block; height: auto; background: #fff; border-radius: .3rem; }
.scroll { overflow-x: auto; }
"""


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


def plots(caption: str, drawn: Sequence[Plot], columns: int = 3) -> str:
    """
    Draw plots side by side.

    :param caption: what they show.
    :param drawn: the plots.
    :param columns: in a row, at most.
    :return: HTML with an SVG image.
    """
    width = 100 * min(len(drawn), columns) / columns
    return (
        f'<img class="plot" style="width: {width:.0f}%" src="{plot_data_uri(drawn, columns)}" '
        f'alt="{escape(caption)}">'
    )


def picture(caption: str, image: NDArray[np.uint8]) -> str:
    """
    Put an image in.

    :param caption: what it shows.
    :param image: ``(H, W, 3)`` uint8 RGB.
    :return: HTML with the image as JPEG.
    """
    encoded = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    data = b64encode(encoded.tobytes()).decode()
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="{escape(caption)}">'
        f'<figcaption>{escape(caption)}</figcaption></figure>'
    )
