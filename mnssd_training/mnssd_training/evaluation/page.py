"""Lay a report out as one self-contained HTML page."""

from collections.abc import Sequence

from mnssd_training.data.sample import load_image
from mnssd_training.evaluation import text
from mnssd_training.evaluation.curves import ClassCurves
from mnssd_training.evaluation.failures import draw_failure, Failure, FAILURE_TYPES, LEGEND
from mnssd_training.evaluation.report import choose_differing_images, Report
from mnssd_training.metrics_file import EpochMetrics
from mnssd_training.reporting import drawing, page, plots
import numpy as np

IMAGE_WIDTH = 640  # pixels, at most
FEW_POINTS = 30  # that are marked on a line

# Okabe and Ito, Color Universal Design, 2008; RGB.
IMAGE_LEGEND = {
    'true positive': (0, 190, 140),
    'wrong class': (86, 180, 233),
    'false positive': (255, 150, 0),
    'missed': (240, 90, 200),
}


def report_page(
    report: Report,
    title: str,
    facts: dict[str, str],
    *,
    other: Report | None = None,
    epochs: Sequence[EpochMetrics] = (),
) -> str:
    """Lay a report out as a page, with facts about model and data; compare it with ``other``."""
    indices = choose_differing_images(report, other) if other else report.worst_images
    reports = (report, other) if other else (report,)
    history = _history_charts(epochs)
    return page.render_page(
        'evaluation',
        title=title,
        facts=facts,
        report=report,
        other=other,
        class_table=text.class_table(report),
        size_table=text.size_table(report.scores.coco),
        best_f1_table=text.best_f1_table(report),
        line_styles=[plots.line_style(index) for index in range(len(report.curves.classes))],
        speed_table=text.speed_table(report.speed) if report.speed else None,
        comparison_table=text.comparison_table(report, other) if other else None,
        comparison_chart=_comparison_chart(report, other) if other else '',
        curve_chart=plots.svg_data_uri(_curve_charts(report), 2),
        history_chart=plots.svg_data_uri(history) if history else '',
        images=[_draw_image(each, index) for index in indices for each in reports],
        image_legend=IMAGE_LEGEND,
        failures=_draw_failures(report),
        failure_legend=LEGEND,
    )


def _curve_charts(report: Report) -> list[plots.Chart]:
    """Plot precision over recall, and F1, precision and recall over the confidence."""
    curves, classes = report.curves, report.curves.classes.values()
    styles = [plots.line_style(index) for index in range(len(classes))]
    lines = [_recall_line(each, '', *style) for each, style in zip(classes, styles)]
    title = 'precision over recall'
    charts = [plots.line_chart(title, 'recall', 'precision', lines, is_step=True)]
    for field, name in (('f1', 'F1'), ('precision', 'precision'), ('recall', 'recall')):
        lines = []
        for each, style in zip(classes, styles):
            values = np.array(getattr(each.by_confidence, field), np.float64)  # NaN for None
            lines.append(plots.Line(curves.confidence, values, '', *style))
        if field == 'f1' and len(lines) > 1:
            best = curves.mean.best
            point = (best.score, best.f1) if best else None
            x, y = curves.confidence, curves.mean.f1
            lines.append(plots.Line(x, y, 'mean', plots.GREY, width=2.6, highlight=point))
        charts.append(plots.line_chart(f'{name} over confidence', 'score threshold', name, lines))
    return charts


def _comparison_chart(report: Report, other: Report) -> str:
    """Plot precision over recall of two models, class by class."""
    charts = []
    for name, curves in report.curves.classes.items():
        lines = [
            _recall_line(curves, 'A', *plots.line_style(0)),
            _recall_line(other.curves.classes[name], 'B', *plots.line_style(1)),
        ]
        charts.append(plots.line_chart(name, 'recall', 'precision', lines, is_step=True))
    return plots.svg_data_uri(charts) if charts else ''


def _recall_line(curves: ClassCurves, name: str, colour: str, dash: str) -> plots.Line:
    """Begin an envelope at recall 0, let it fall where it ends, and mark the best F1."""
    x, y = curves.recall, curves.precision
    if x:
        x, y = [0.0, *x, x[-1]], [y[0], *y, 0.0]
    best = curves.best
    highlight = (best.recall, best.precision) if best else None
    return plots.Line(x, y, name, colour, dash, highlight=highlight)


def _history_charts(epochs: Sequence[EpochMetrics]) -> list[plots.Chart]:
    """Plot losses, score and learning rate over the steps of training, where there are any."""
    charts = []
    losses = {'total': 'loss', 'classification': 'class_loss', 'boxes': 'box_loss'}
    for title, y_label, fields in (
        ('training loss', 'mean of the epoch', losses),
        ('validation score', 'mean VOC AP50', {'': 'map50'}),
        ('learning rate', 'at the end of the epoch', {'': 'learning_rate'}),
    ):
        lines = []
        for index, (name, field) in enumerate(fields.items()):
            values = [(epoch.step, getattr(epoch, field)) for epoch in epochs]
            if points := [(step, value) for step, value in values if value is not None]:
                marker = '.' if len(points) < FEW_POINTS else ''
                x, y = zip(*points)
                lines.append(plots.Line(x, y, name, *plots.line_style(index), marker=marker))
        if lines:
            chart = plots.line_chart(title, 'step', y_label, lines, x_range=None, y_range=None)
            charts.append(chart)
    return charts


def _draw_image(report: Report, index: int) -> drawing.Tile:
    """Draw the detections and the missed objects of an image, by their verdict."""
    sample, detections = report.samples[index], report.detections[index]
    match = report.matches[index]
    image, scale = drawing.resize_to_width(load_image(sample), min(IMAGE_WIDTH, sample.size[1]))
    groups = (
        detections.boxes[match.true_positives[:, 1]],
        detections.boxes[match.misclassified[:, 1]],
        detections.boxes[match.false_positives],
        sample.boxes[match.false_negatives],
    )
    for boxes, colour in zip(groups, IMAGE_LEGEND.values()):
        # Two pixels, since the page may show the image smaller.
        drawing.draw_boxes(image, boxes * scale, [colour] * len(boxes), line_width=2)
    caption = ', '.join(f'{len(boxes)} {name}' for boxes, name in zip(groups, IMAGE_LEGEND))
    return drawing.Tile(image, f'{sample.name}: {caption}')


def _draw_failures(report: Report) -> list[tuple[str, str, list[drawing.Tile]]]:
    """Draw the failures of each type, with its name and meaning."""
    tiles: dict[Failure, drawing.Tile] = {}
    for index in {failure.sample for failure in report.failures}:
        image = load_image(report.samples[index])
        for failure in [each for each in report.failures if each.sample == index]:
            crop = draw_failure(image, report.samples[index], report.detections[index], failure)
            tiles[failure] = drawing.Tile(crop, _failure_caption(report, failure))
    return [
        (*texts, [tiles[failure] for failure in report.failures if failure.type == failure_type])
        for failure_type, texts in FAILURE_TYPES.items()
    ]


def _failure_caption(report: Report, failure: Failure) -> str:
    names = report.confusion.names
    sample, detections = report.samples[failure.sample], report.detections[failure.sample]
    score = f'{failure.score:.2f}'
    object_class = names[sample.labels[failure.object]] if failure.object is not None else ''
    if failure.detection is None:
        caption = f'{object_class}, best score {score}' if failure.score else object_class
    else:
        caption = f'{names[detections.labels[failure.detection]]} {score}'
    if failure.type == 'confusion':
        caption = f'{object_class} detected as {caption}'
    elif failure.type in ('bad box', 'double'):
        caption += f', IoU {failure.iou:.2f}'
    return f'{caption}; {sample.name}'
