"""A report to one HTML page that needs nothing else."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import cv2
from mnssd_perception.ssd import Detections
from mnssd_training.data.sample import load_image, Sample
from mnssd_training.evaluation.crops import draw_failure
from mnssd_training.evaluation.failures import Failure, KINDS
from mnssd_training.evaluation.history import history_plots
from mnssd_training.evaluation.report import Evaluation
from mnssd_training.evaluation.scenes import (
    CONFUSED,
    CORRECT,
    count_outcome,
    draw_scene,
    MISSED,
    WRONG,
)
from mnssd_training.evaluation.text import CLASS_COLUMNS, compare_classes, shown, SIZES
from mnssd_training.plots import Line, line_style, Lines, plot_data_uri
import numpy as np
from numpy.typing import NDArray

TEMPLATE = 'report.html.jinja'
QUALITY = 82  # of the JPEGs, which are seen at their own size
LEGEND = {'correct': CORRECT, 'another class': CONFUSED, 'wrong': WRONG, 'missed': MISSED}


@dataclass(frozen=True)
class Scene:
    """
    A whole image, as each of the compared models sees it.

    :ivar name: of the image.
    :ivar captions: what became of the objects, for each model.
    :ivar images: ``(H, W, 3)`` uint8 RGB, for each model.
    """

    name: str
    captions: tuple[str, ...]
    pictures: tuple[NDArray[np.uint8], ...]


def draw_scenes(
    samples: Sequence[Sample],
    models: Sequence[tuple[Evaluation, Sequence[Detections]]],
    indices: Sequence[int],
) -> list[Scene]:
    """
    Draw whole images.

    :param samples: the annotations.
    :param models: what each model found, and its evaluation.
    :param indices: which images.
    :return: the scenes.
    """
    scenes = []
    for index in indices:
        outcomes = [evaluation.outcomes[index] for evaluation, _ in models]
        both = [(samples[index], found[index], o) for (_, found), o in zip(models, outcomes)]
        counts = [count_outcome(*one) for one in both]
        scenes.append(
            Scene(
                samples[index].name,
                tuple(', '.join(f'{row[key]} {key}' for key in row) for row in counts),
                tuple(draw_scene(*one) for one in both),
            )
        )
    return scenes


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
    for index in order:  # so that each image is read once
        failure = failures[index]
        if failure.sample != loaded:
            image, loaded = load_image(samples[failure.sample]), failure.sample
        pictures[index] = draw_failure(
            image, samples[failure.sample], found[failure.sample], failure
        )
    return [pictures[index] for index in range(len(failures))]


def report_page(
    report: dict[str, Any],
    title: str,
    facts: dict[str, str],
    pictures: Sequence[NDArray] = (),
    *,
    scenes: Sequence[Scene] = (),
    history: Sequence[dict[str, Any]] = (),
) -> str:
    """
    Lay a report out as a page: text and inline images, no script, nothing to load.

    :param report: that of :func:`make_report`; ``speed`` may be missing or None, and
        ``compared_with`` may be the report of another model on the same images, with ``model``.
    :param title: what was scored.
    :param facts: name to value, of what was scored on what.
    :param images: one for each of the failures, see :func:`draw_failures`.
    :param scenes: whole images, see :func:`draw_scenes`.
    :param history: epochs of the training, see :func:`read_history`.
    :return: the page; names from annotations are escaped.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters['shown'] = shown
    template = resources.files('mnssd_training.evaluation').joinpath(TEMPLATE).read_text('utf-8')
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
    other = report.get('compared_with')
    trained = history_plots(history)
    return environment.from_string(template).render(
        title=title,
        facts=facts,
        scores=report['scores'],
        voc=report['scores']['voc'],
        coco=report['scores']['coco'],
        columns=CLASS_COLUMNS,
        sizes=SIZES,
        chart=plot_data_uri(_curve_plots(report['curves']), 2),
        legend=[(name, *line_style(i)) for i, name in enumerate(report['curves']['classes'])],
        curves=report['curves'],
        confusion=report['confusion'],
        speed=report.get('speed'),
        other=other,
        comparison=compare_classes(report, other) if other else [],
        comparison_chart=_compare_chart(report, other) if other else '',
        training_chart=plot_data_uri(trained) if trained else '',
        scenes=[(scene, [_data_uri(picture) for picture in scene.pictures]) for scene in scenes],
        scene_legend=LEGEND,
        gallery=gallery,
    )


def _curve_plots(curves: dict[str, Any]) -> list[Lines]:
    """Plot precision over recall, and F1, precision and recall over the confidence."""
    classes, confidence = curves['classes'], curves['confidence']
    lines = [
        Line(*_staircase(curve), colour=i, mark=_mark(curve))
        for i, curve in enumerate(classes.values())
    ]
    plots = [Lines('precision over recall', 'recall', 'precision', lines, is_step=True)]
    for key, name in (('f1', 'F1'), ('precision', 'precision'), ('recall', 'recall')):
        lines = [
            Line(confidence, _floats(curve['by_confidence'][key]), colour=i)
            for i, curve in enumerate(classes.values())
        ]
        if key == 'f1' and len(classes) > 1:
            best = curves['mean']['best']
            mark = (best['score'], best['f1']) if best else None
            lines.append(Line(confidence, curves['mean'][key], 'mean', 7, mark=mark, is_bold=True))
        plots.append(Lines(f'{name} over confidence', 'score threshold', name, lines))
    return plots


def _compare_chart(report: dict[str, Any], other: dict[str, Any]) -> str:
    """Plot precision over recall of two models, class by class."""
    plots = [
        Lines(
            name,
            'recall',
            'precision',
            [
                Line(*_staircase(model['curves']['classes'][name]), label, colour)
                for colour, (label, model) in enumerate((('A', report), ('B', other)))
            ],
            is_step=True,
        )
        for name in report['curves']['classes']
    ]
    return plot_data_uri(plots) if plots else ''


def _staircase(curve: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Begin an envelope at recall 0, and let it fall where it ends."""
    if not curve['recall']:
        return [], []
    recall, precision = curve['recall'], curve['precision']
    return [0.0, *recall, recall[-1]], [precision[0], *precision, 0.0]


def _mark(curve: dict[str, Any]) -> tuple[float, float] | None:
    """Mark where F1 is best."""
    best = curve['best']
    return (best['recall'], best['precision']) if best else None


def _floats(values: Sequence[float | None]) -> list[float]:
    """Interrupt a line where there is no value."""
    return [float('nan') if value is None else value for value in values]


def _data_uri(picture: NDArray[np.uint8]) -> str:
    """Pack an image into an address."""
    _, encoded = cv2.imencode(
        '.jpg', np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    )
    return f'data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}'
