"""A report to tables for a terminal."""

from collections.abc import Sequence
from typing import Any

# Column title to the key of COCO's numbers.
CLASS_COLUMNS = {
    'COCO AP': 'ap',
    'AP50': 'ap50',
    'AP75': 'ap75',
    'small': 'ap_small',
    'medium': 'ap_medium',
    'large': 'ap_large',
    'AR100': 'ar_100',
}
SIZES = {'small': 'under 32 x 32', 'medium': 'up to 96 x 96', 'large': 'over 96 x 96'}


def report_text(report: dict[str, Any]) -> str:
    """
    Lay a report out.

    :param report: that of :func:`make_report`; ``speed`` may be missing or None, and
        ``compared_with`` the report of another model.
    :return: lines.
    """
    parts = [_classes(report['scores']), _sizes(report['scores']['coco'])]
    if len(report['scores']['voc']) > 1:
        parts.append(_thresholds(report['scores']['voc']))
    parts.append(_best(report['curves']))
    parts.append(_confusion(report['confusion']))
    if report.get('speed'):
        parts.append(_speed(report['speed']))
    if other := report.get('compared_with'):
        head = ['', 'VOC AP50: A', 'B', 'B - A', 'COCO AP: A', 'B', 'B - A']
        table = _table([head, *compare_classes(report, other)])
        parts.append(f'{table}\nA: {report["model"]}\nB: {other["model"]}')
    return '\n\n'.join(parts)


def shown(value: float | None, digits: int = 4) -> str:
    """
    Show a score.

    :param value: the score, or None where there is none.
    :param digits: behind the point.
    :return: the number or a dash.
    """
    return '-' if value is None else f'{value:.{digits}f}'


def compare_classes(report: dict[str, Any], other: dict[str, Any]) -> list[list[str]]:
    """
    Lay the scores of two models out side by side.

    :param report: of the model A.
    :param other: of the model B, on the same images.
    :return: a row a class and one of the means: name, then VOC AP50 and COCO AP, each of A, of B
        and the difference.
    """
    pair = [one['scores'] for one in (report, other)]
    names = list(report['scores']['num_objects'])
    values = [
        (name, [s['ap50'][name] for s in pair], [s['coco']['classes'][name]['ap'] for s in pair])
        for name in names
    ]
    values.append(
        ('mean', [s['voc']['0.5']['all'] for s in pair], [s['coco']['ap'] for s in pair])
    )
    return [
        [name, *(cell for a, b in (voc, coco) for cell in (shown(a), shown(b), _change(a, b)))]
        for name, voc, coco in values
    ]


def _change(before: float | None, after: float | None) -> str:
    """Show a difference with its sign."""
    return '-' if before is None or after is None else f'{after - before:+.4f}'


def _classes(scores: dict[str, Any]) -> str:
    """Lay out average precision by class."""
    voc, coco = scores['voc']['0.5'], scores['coco']
    rows = [['class', 'objects', 'VOC AP50', '11 points', *CLASS_COLUMNS]]
    for name, num in scores['num_objects'].items():
        rows.append(_row(name, num, voc['classes'][name], coco['classes'][name]))
    rows.append(_row('mean', sum(scores['num_objects'].values()), voc, coco))
    return _table(rows)


def _row(name: str, num: int, voc: dict[str, Any], coco: dict[str, Any]) -> list[str]:
    """Write the scores of a class, or of all."""
    numbers = [voc['all'], voc['11'], *(coco[key] for key in CLASS_COLUMNS.values())]
    return [name, str(num), *map(shown, numbers)]


def _sizes(coco: dict[str, Any]) -> str:
    """Lay out the scores by size."""
    rows = [['size', 'objects', 'COCO AP', 'COCO AR']]
    rows += [
        [
            f'{size} ({limits} pixels)',
            str(coco[f'num_{size}']),
            shown(coco[f'ap_{size}']),
            shown(coco[f'ar_{size}']),
        ]
        for size, limits in SIZES.items()
    ]
    most = ', '.join(f'{shown(coco[f"ar_{num}"])} with {num}' for num in (1, 10, 100))
    return f'{_table(rows)}\nrecall by detections of a class in an image: {most}'


def _thresholds(voc: dict[str, Any]) -> str:
    """Lay out VOC's average precision by IoU threshold."""
    rows = [['IoU', 'VOC AP', '11 points']]
    rows += [[iou, shown(row['all']), shown(row['11'])] for iou, row in voc.items()]
    return _table(rows)


def _best(curves: dict[str, Any]) -> str:
    """Lay out the score threshold of the best F1 of each class."""
    keys = ('f1', 'score', 'precision', 'recall')
    rows = [['class', 'best F1', 'at score', 'precision', 'recall']]
    for name, curve in [*curves['classes'].items(), ('one score for all', curves['mean'])]:
        best = curve['best'] or {}
        rows.append([name, *(shown(best.get(key)) for key in keys)])
    return _table(rows)


def _confusion(confusion: dict[str, Any]) -> str:
    """Lay out the confusion matrix."""
    names = confusion['names']
    head = f'annotated \\ found, from a score of {confusion["score_threshold"]:g}'
    rows = [[head, *names]]
    rows += [[name, *map(str, row)] for name, row in zip(names, confusion['matrix'])]
    return _table(rows)


def _speed(speed: dict[str, Any]) -> str:
    """Lay out the durations."""
    rows = [['ms per image', 'mean', 'p50', 'p95']]
    for name, row in speed['stages'].items():
        rows.append([name, *(shown(row[key], 2) for key in ('mean', 'p50', 'p95'))])
    return (
        f'{_table(rows)}\nmeasured on {speed["num_images"]} images, one at a time, '
        f'{speed["engine_on"]}; {speed["machine"]}'
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Align columns, names on the left and numbers on the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return '\n'.join(
        '  '.join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:]))]
        )
        for row in rows
    )
