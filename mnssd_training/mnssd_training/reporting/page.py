"""Render self-contained HTML pages from the templates beside this module."""

from base64 import b64encode
from typing import Any

import cv2
from mnssd_training.reporting.tables import format_score
import numpy as np
from numpy.typing import NDArray

JPEG_QUALITY = 85


def render_page(template: str, **values: Any) -> str:
    """
    Render the page ``template.html.jinja``: text and inline images, no script, nothing to load.

    Everything that a template inserts is escaped.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(score=format_score, jpeg=jpeg_data_uri)
    return environment.get_template(f'{template}.html.jinja').render(values)


def jpeg_data_uri(image: NDArray[np.uint8]) -> str:
    """Encode ``(H, W, 3)`` uint8 RGB as a JPEG in a data URI."""
    bgr = np.ascontiguousarray(image[..., ::-1])
    encoded = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return f'data:image/jpeg;base64,{b64encode(encoded.tobytes()).decode()}'
