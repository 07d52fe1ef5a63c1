"""Write beside an intended bundle why the accuracy gate refused it."""

from collections.abc import Sequence
import json
from pathlib import Path
from typing import Any

from mnssd_perception.files import write_atomically
from mnssd_perception.serialization import to_plain
from mnssd_training.errors import ExportError
from mnssd_training.evaluation import scores_to_json
from mnssd_training.export.artefacts import Measurement
from mnssd_training.export.gate import GateReport
from mnssd_training.export.sensitivity import LayerSensitivity, sensitivity_table
from mnssd_training.reporting.tables import format_score, format_table

SUFFIXES = ('.gate.txt', '.gate.json')
Layers = Sequence[LayerSensitivity]
NUM_LISTED = 10  # images and layers in the text; the JSON holds all


def report_paths(bundle: Path) -> tuple[Path, Path]:
    """Name the text and the JSON of a report beside a bundle."""
    text, data = (bundle.with_name(f'{bundle.stem}{suffix}') for suffix in SUFFIXES)
    return text, data


def write_reports(bundle: Path, refused: Sequence[tuple[Measurement, Layers]]) -> Path:
    """
    Write the reports of networks that did not pass, as text and as JSON.

    :param bundle: that is not written because of them.
    :param refused: each with the sensitivity of its layers, where that was measured.
    :return: the text.
    :raises ExportError: if they cannot be written.
    """
    text = '\n\n'.join(format_report(*item) for item in refused) + '\n'
    plain = [report_to_json(*item) for item in refused]
    encoded = json.dumps({'bundle': bundle.name, 'refused': plain}, indent=1, allow_nan=False)
    text_path, json_path = report_paths(bundle)
    try:
        write_atomically(text_path, text.encode())
        write_atomically(json_path, f'{encoded}\n'.encode())
    except OSError as error:
        raise ExportError(f'{text_path}: cannot be written: {error.strerror}\n{text}') from error
    return text_path


def remove_reports(bundle: Path) -> None:
    """Remove the reports of an earlier attempt, which a new bundle would seem to have failed."""
    for path in report_paths(bundle):
        path.unlink(missing_ok=True)


def format_report(measurement: Measurement, layers: Layers = ()) -> str:
    """Lay a report out as text for a person who wants to know what dropped."""
    report = measurement.report
    verdict = report.verdict
    parts = [
        f'{measurement}: refused\n' + '\n'.join(f'- {reason}' for reason in verdict.reasons),
        f'scored with {verdict.scored_with} on {verdict.num_images} images of the validation set',
        format_table(_class_rows(report)),
        format_table(_size_rows(report)),
    ]
    if layers:
        parts.append('most sensitive layers\n' + sensitivity_table(layers[:NUM_LISTED]))
    if report.changed_images:
        rows = [['most changed images', 'missing', 'unexpected']]
        for image in report.changed_images[:NUM_LISTED]:
            rows.append([image.name, str(image.num_missing), str(image.num_unexpected)])
        parts.append(format_table(rows))
    return '\n\n'.join(parts)


def report_to_json(measurement: Measurement, layers: Layers = ()) -> dict[str, Any]:
    """Write a report with everything that it holds but the detections."""
    report = measurement.report
    return {
        'artefact': measurement.name,
        'engine': measurement.engine,
        'verdict': to_plain(report.verdict),
        'limits': to_plain(report.limits),
        'scores': scores_to_json(report.scores),
        'scores_checkpoint': scores_to_json(report.reference_scores),
        'layers': to_plain(layers),
        'changed_images': to_plain(report.changed_images),
    }


def _class_rows(report: GateReport) -> list[list[str]]:
    """Compare VOC AP@0.5 by class, the largest loss first."""
    before, after = report.reference_scores, report.scores
    rows = [
        [name, str(before.num_objects[name]), *_change(ap, after.ap50[name])]
        for name, ap in before.ap50.items()
    ]
    rows.sort(key=lambda row: float(row[-1]) if row[-1] != '-' else 0.0)
    mean = ['mean', str(sum(before.num_objects.values())), *_change(before.map50, after.map50)]
    return [['class', 'objects', 'AP@0.5 checkpoint', 'artefact', 'change [points]'], *rows, mean]


def _size_rows(report: GateReport) -> list[list[str]]:
    before, after = report.reference_scores.coco, report.scores.coco
    rows = [['size', 'objects', 'COCO AP checkpoint', 'artefact', 'change [points]']]
    for size in ('small', 'medium', 'large'):
        num, ap = (getattr(before, f'{key}_{size}') for key in ('num', 'ap'))
        rows.append([size, str(num), *_change(ap, getattr(after, f'ap_{size}'))])
    return rows


def _change(before: float | None, after: float | None) -> list[str]:
    change = '-' if before is None or after is None else f'{100 * (after - before):+.2f}'
    return [format_score(before), format_score(after), change]
