"""A report to one HTML page that needs nothing else."""

import base64
from collections.abc import Sequence
from importlib import resources
from typing import Any

import cv2
from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import load_image, Sample
from mnssd_training.evaluation.crops import draw_failure
from mnssd_training.evaluation.failures import Failure, KINDS
from mnssd_training.evaluation.svg import Curve, draw_curves, style
from mnssd_training.evaluation.text import CLASS_COLUMNS, shown, SIZES
import numpy as np
from numpy.typing import NDArray

__all__ = ['draw_failures', 'report_page']

TEMPLATE = 'report.html.jinja'
QUALITY = 82  # of the JPEGs, which are seen at their own size


def draw_failures(
    samples: Sequence[Sample], found: Sequence[Detections], failures: Sequence[Failure]
) -> list[NDArray[np.uint8]]:
    """
    Draw each failure with its surroundings.

    :param samples: the annotations.
    :param found: the detections of each sample.
    :param failures: what went wrong.
    :return: ``(224, 224, 3)`` uint8 RGB each.
    """
    pictures: dict[int, NDArray[np.uint8]] = {}
    order = sorted(range(len(failures)), key=lambda index: failures[index].sample)
    image, loaded = np.zeros((1, 1, 3), np.uint8), -1
    for index in order:  # so that each photograph is read once
        failure = failures[index]
        if failure.sample != loaded:
            image, loaded = load_image(samples[failure.sample]), failure.sample
        pictures[index] = draw_failure(
            image, samples[failure.sample], found[failure.sample], failure
        )
    return [pictures[index] for index in range(len(failures))]


def report_page(
    report: dict[str, Any], title: str, facts: dict[str, str], pictures: Sequence[NDArray] = ()
) -> str:
    """
    Lay a report out as a page: text, inline SVG and inline JPEG, no script, nothing to load.

    :param report: see :func:`make_report`; ``speed`` may be missing or None.
    :param title: what was scored.
    :param facts: name to value, of what was scored on what.
    :param pictures: one for each of the failures, see :func:`draw_failures`.
    :return: the page; names from annotations are escaped.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters['shown'] = shown
    template = resources.files('mnssd_training.evaluation').joinpath(TEMPLATE).read_text('utf-8')
    lines = [
        Curve(name, curve['recall'], curve['precision'], _mark(curve))
        for name, curve in report['curves'].items()
    ]
    images = [_data_uri(picture) for picture in pictures]
    gallery = [
        {
            'kind': kind,
            'meaning': meaning,
            'failures': [
                (failure, image)
                for failure, image in zip(report['failures'], images)
                if failure['kind'] == kind
            ],
        }
        for kind, meaning in KINDS.items()
    ]
    return environment.from_string(template).render(
        title=title,
        facts=facts,
        scores=report['scores'],
        voc=report['scores']['voc'],
        coco=report['scores']['coco'],
        columns=CLASS_COLUMNS,
        sizes=SIZES,
        chart=Markup(draw_curves(lines, 'recall', 'precision')),
        legend=[(name, *style(i)) for i, name in enumerate(report['curves'])],
        curves=report['curves'],
        confusion=report['confusion'],
        shares=_shares(report['confusion']['matrix']),
        speed=report.get('speed'),
        gallery=gallery,
    )


def _mark(curve: dict[str, Any]) -> tuple[float, float] | None:
    """Mark where F1 is best."""
    best = curve['best']
    return (best['recall'], best['precision']) if best else None


def _shares(matrix: Sequence[Sequence[int]]) -> list[list[int]]:
    """Tell the share of each cell in its row, percent, for its shade."""
    return [[round(100 * cell / max(sum(row), 1)) for cell in row] for row in matrix]


def _data_uri(picture: NDArray[np.uint8]) -> str:
    """Pack a picture into an address."""
    _, encoded = cv2.imencode(
        '.jpg', np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    )
    return f'data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}'
