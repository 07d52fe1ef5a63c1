"""Format a report as tables for a terminal."""

from typing import Any

from mnssd_training.evaluation.coco_ap import CocoMetrics, CocoScores
from mnssd_training.evaluation.curves import BestF1
from mnssd_training.evaluation.detect import Speed
from mnssd_training.evaluation.report import Report
from mnssd_training.evaluation.scores import VocMetrics
from mnssd_training.reporting.tables import format_score, format_table

# Column title -> field of CocoMetrics.
COCO_COLUMNS = {
    'COCO AP': 'ap',
    'AP50': 'ap50',
    'AP75': 'ap75',
    'small': 'ap_small',
    'medium': 'ap_medium',
    'large': 'ap_large',
    'AR100': 'ar_100',
}
SIZES = {'small': 'under 32 x 32', 'medium': 'up to 96 x 96', 'large': 'over 96 x 96'}


def report_text(report: Report, other: Report | None = None) -> str:
    """Lay a report out as several tables, the last a comparison with another model."""
    voc = report.scores.voc
    tables: list[list[list[Any]]] = [class_table(report), size_table(report.scores.coco)]
    if len(voc) > 1:
        rows = [
            [iou, format_score(row.all_points), format_score(row.eleven_points)]
            for iou, row in voc.items()
        ]
        tables.append([['IoU', 'VOC AP', '11 points'], *rows])
    confusion = report.confusion
    title = f'ground truth \\ predicted, from a score of {confusion.score_threshold:g}'
    counts = [[name, *row] for name, row in zip(confusion.names, confusion.matrix)]
    tables += [best_f1_table(report), [[title, *confusion.names], *counts]]
    parts = list(map(format_table, tables))
    coco = report.scores.coco
    recalls = ((1, coco.ar_1), (10, coco.ar_10), (100, coco.ar_100))
    by_number = ', '.join(f'{format_score(recall)} with {num}' for num, recall in recalls)
    parts[1] += f'\nrecall by detections of a class in an image: {by_number}'
    if report.speed:
        parts.append(
            f'{format_table(speed_table(report.speed))}\n'
            f'measured on {report.speed.num_images} images, one at a time, '
            f'{report.speed.engine_on}; {report.speed.machine}'
        )
    if other:
        parts.append(
            f'{format_table(comparison_table(report, other))}\nA: {report.model}\nB: {other.model}'
        )
    return '\n\n'.join(parts)


def class_table(report: Report) -> list[list[str]]:
    """Make a table of the average precision by class, with the mean in the last row."""
    scores, voc = report.scores, report.scores.voc['0.5']

    def row(name: str, num_objects: int, voc: VocMetrics, coco: CocoMetrics) -> list[str]:
        numbers = [getattr(coco, field) for field in COCO_COLUMNS.values()]
        values = [voc.all_points, voc.eleven_points, *numbers]
        return [name, str(num_objects), *map(format_score, values)]

    return [
        ['class', 'objects', 'VOC AP50', '11 points', *COCO_COLUMNS],
        *(
            row(name, num, voc.classes[name], scores.coco.classes[name])
            for name, num in scores.num_objects.items()
        ),
        row('mean', sum(scores.num_objects.values()), voc, scores.coco),
    ]


def size_table(coco: CocoScores) -> list[list[str]]:
    """Make a table of the scores by size of the object."""
    rows = [['size', 'objects', 'COCO AP', 'COCO AR']]
    for size, limits in SIZES.items():
        num, ap, ar = (getattr(coco, f'{name}_{size}') for name in ('num', 'ap', 'ar'))
        name = f'{size} ({limits} pixels)'
        rows.append([name, str(num), format_score(ap), format_score(ar)])
    return rows


def best_f1_table(report: Report) -> list[list[str]]:
    """Make a table of the score threshold with the best F1 for each class and for all."""
    rows = [['class', 'best F1', 'at score', 'precision', 'recall']]
    best: dict[str, BestF1 | None] = {
        name: curves.best for name, curves in report.curves.classes.items()
    }
    best['one score for all'] = report.curves.mean.best
    for name, point in best.items():
        values = [getattr(point, field, None) for field in ('f1', 'score', 'precision', 'recall')]
        rows.append([name, *map(format_score, values)])
    return rows


def speed_table(speed: Speed) -> list[list[str]]:
    """Make a table of the duration of each stage."""
    rows = [['ms per image', 'mean', 'p50', 'p95']]
    for stage, duration in speed.stages.items():
        rows.append([stage, *(format_score(value, 2) for value in vars(duration).values())])
    return rows


def comparison_table(report: Report, other: Report) -> list[list[str]]:
    """Make a table of the scores of two models by class, with the mean in the last row."""
    rows = [['class', 'VOC AP50: A', 'B', 'B - A', 'COCO AP: A', 'B', 'B - A']]
    a, b = report.scores, other.scores

    def add(name: str, *pairs: tuple[float | None, float | None]) -> None:
        row = [name]
        for before, after in pairs:
            change = '-' if before is None or after is None else f'{after - before:+.4f}'
            row += [format_score(before), format_score(after), change]
        rows.append(row)

    for name in a.num_objects:
        coco = (a.coco.classes[name].ap, b.coco.classes[name].ap)
        add(name, (a.ap50[name], b.ap50[name]), coco)
    means = (a.voc['0.5'].all_points, b.voc['0.5'].all_points)
    add('mean', means, (a.coco.ap, b.coco.ap))
    return rows
