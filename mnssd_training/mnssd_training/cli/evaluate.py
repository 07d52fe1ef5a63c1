"""``mnssd evaluate``: score a checkpoint, an ONNX file or a bundle on annotated images."""

from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import replace
import json
from pathlib import Path

from mnssd_perception.text import mask_secrets
from mnssd_training.cli.common import command, make_parser, positive_int, write_file
from mnssd_training.cli.data_arguments import (
    add_data_arguments,
    choose_data,
    DataChoice,
    read_choice,
)
from mnssd_training.data import Sample
from mnssd_training.data.hard_negatives import HardNegatives
from mnssd_training.errors import ConfigError, DatasetError
from mnssd_training.evaluation import detect_samples, SCORING
from mnssd_training.evaluation.detect import measure_speed, spread
from mnssd_training.evaluation.failures import hard_negatives
from mnssd_training.evaluation.page import report_page
from mnssd_training.evaluation.report import make_report, Report, report_to_json
from mnssd_training.evaluation.text import report_text
from mnssd_training.metrics_file import read_epochs
from mnssd_training.predictor import open_predictor, Predictor
from tqdm import tqdm

EXAMPLES = """\
  mnssd evaluate runs/hit_uav_0123456789ab/checkpoints/best.pt
  mnssd evaluate best.pt DATA/sea_drones --format coco --split val --html report.html
  mnssd evaluate network.onnx hit_uav data.root=DATA/hit_uav
  mnssd evaluate model-2.0.mnssd DATA/cars --compare model-1.0.mnssd --html report.html
  mnssd evaluate model-2.0.mnssd DATA/cars --engine openvino --precision int8
  mnssd evaluate best.pt --split train --hard-negatives train_negatives.json
  mnssd evaluate model-1.0.mnssd DATA/cars --format yolo --class-map bus=truck --class-map kite=
"""


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Score a model on annotated images with the detector that flies."""
    parser = make_parser('evaluate', main.__doc__, EXAMPLES)
    parser.add_argument(
        'model', help='a checkpoint (.pt, also s3://), an ONNX file or a bundle (.mnssd)'
    )
    add_data_arguments(parser, has_checkpoint=True)
    parser.add_argument('--compare', metavar='MODEL', help='evaluate a second model side by side')
    parser.add_argument('--limit', type=positive_int, help='largest number of images')
    parser.add_argument('--engine', default='auto', help='that runs a bundle or an ONNX file')
    parser.add_argument('--precision', default='', help='of a bundle MODEL (default: the fastest)')
    parser.add_argument(
        '--score-threshold',
        type=_fraction,
        help='of the confusion matrix and the failures (default: that of the model)',
    )
    parser.add_argument(
        '--ious',
        type=_fractions,
        default=(0.5,),
        metavar='0.5,0.75',
        help="IoU thresholds of VOC's average precision (default: 0.5)",
    )
    parser.add_argument('--json', metavar='FILE', help='write the report there; - prints it')
    parser.add_argument('--html', type=Path, metavar='FILE', help='write a page with images')
    parser.add_argument(
        '--hard-negatives',
        type=Path,
        metavar='FILE',
        help='write the false positives in the background there, for data.hard_negatives',
    )
    parser.add_argument('--quiet', action='store_true', help='no progress bar')
    args = parser.parse_intermixed_args(arguments)

    model = open_predictor(args.model, args.engine, args.precision)
    names = model.detector.spec.class_names
    other = open_predictor(args.compare, args.engine) if args.compare else None
    if other and other.detector.spec.class_names != names:
        raise ConfigError(
            f'--compare: expected a model with the classes {", ".join(names)}, '
            f'got {", ".join(other.detector.spec.class_names)}'
        )
    choice = choose_data(args, model.experiment, names)
    samples = [sample for split in read_choice(choice, ('val',))[1].values() for sample in split]
    samples = spread(samples, args.limit or len(samples))
    if not samples:
        raise DatasetError(choice.config.root, 'there is no image to score on')
    args.score_threshold = args.score_threshold or model.thresholds.score
    report = _evaluate(args.model, model, samples, args)
    other_report = _evaluate(args.compare, other, samples, args) if other else None
    facts = _describe(report, model, choice)
    if args.html:
        paths = (args.model, choice.config.root)
        title = ' on '.join(Path(mask_secrets(path)).name for path in paths)
        epochs = read_epochs(args.model)
        page = report_page(report, title, facts, other=other_report, epochs=epochs)
        write_file(args.html, page)
    if args.hard_negatives:
        negatives = hard_negatives(report.samples, report.detections, report.matches, names)
        write_file(args.hard_negatives, HardNegatives.dump_json(negatives, indent=1).decode())
    plain = json.dumps(report_to_json(report, facts, other_report), indent=2, allow_nan=False)
    if args.json and args.json != '-':
        write_file(Path(args.json), plain + '\n')
    print(plain if args.json == '-' else report_text(report, other_report))


def _evaluate(path: str, model: Predictor, samples: list[Sample], args: Namespace) -> Report:
    """Detect with a low score threshold, score and time."""
    model.detector.configure(replace(SCORING, iou=model.thresholds.iou))
    with tqdm(None, 'scoring', len(samples), unit='image', disable=args.quiet or None) as bar:
        detections = detect_samples(model.detector, samples, bar.update)
    return make_report(
        samples,
        detections,
        model.detector.spec.class_names,
        score_threshold=args.score_threshold,
        ious=args.ious,
        model=f'{path} ({model.file_type})',
        speed=measure_speed(model.detector, samples),
    )


def _describe(report: Report, model: Predictor, choice: DataChoice) -> dict[str, str]:
    """Describe the model and the data for the report."""
    height, width = model.detector.spec.input_size
    sources = []
    for source in choice.sources:
        splits = ', '.join(choice.splits) or source.val_split
        sources.append(f'{mask_secrets(source.root)} ({source.format}, {splits})')
    num_objects = sum(len(sample.boxes) for sample in report.samples)
    num_regions = sum(len(sample.ignore) for sample in report.samples)
    contents = f'{num_objects} objects and {num_regions} ignore regions'
    return {
        'model': report.model,
        'input': f'{width} x {height} pixels, {model.detector.spec.resize}',
        'classes': ', '.join(model.detector.spec.class_names),
        'run by': str(model.detector.engine.info),
        'data': ', '.join(sources),
        'images': f'{len(report.samples)}, with {contents}',
    }


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise ArgumentTypeError(f'expected more than 0 and less than 1, got {text!r}')
    return value


def _fractions(text: str) -> tuple[float, ...]:
    return tuple(map(_fraction, text.split(',')))
