"""``mnssd evaluate``: score a checkpoint, an ONNX file or a bundle on annotated images."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import replace
import json
from pathlib import Path
import sys

from mnssd_perception.text import mask_secrets
from mnssd_training.cli.common import run_verb, write_file
from mnssd_training.cli.data_arguments import (
    add_data_arguments,
    choose_data,
    DataChoice,
    read_choice,
)
from mnssd_training.data import Sample
from mnssd_training.errors import ConfigError, DatasetError
from mnssd_training.evaluation import detect_samples, SCORING
from mnssd_training.evaluation.page import report_page
from mnssd_training.evaluation.report import make_report, Report, report_to_json
from mnssd_training.evaluation.speed import measure_speed
from mnssd_training.evaluation.text import report_text
from mnssd_training.metrics_file import read_epochs
from mnssd_training.predictor import open_predictor, Predictor
from tqdm import tqdm

EPILOG = """\
examples:
  mnssd evaluate runs/hit_uav_0123456789ab/checkpoints/best.pt
  mnssd evaluate best.pt DATA/sea_drones --format coco --split val --html report.html
  mnssd evaluate network.onnx hit_uav data.root=DATA/hit_uav
  mnssd evaluate model-2.0.mnssd DATA/cars --compare model-1.0.mnssd --html report.html
  mnssd evaluate model-1.0.mnssd DATA/cars --format yolo --class-map bus=truck --class-map kite=
"""


def _verb(arguments: Sequence[str] | None) -> None:
    parser = ArgumentParser(
        'mnssd evaluate',
        description='Score a model on annotated images with the detector that flies.',
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'model', help='a checkpoint (.pt, also s3://), an ONNX file or a bundle (.mnssd)'
    )
    add_data_arguments(parser, has_checkpoint=True)
    parser.add_argument('--compare', metavar='MODEL', help='evaluate a second model side by side')
    parser.add_argument('--limit', type=_positive_int, help='largest number of images')
    parser.add_argument('--engine', default='auto', help='that runs a bundle or an ONNX file')
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
    parser.add_argument('--quiet', action='store_true', help='no progress bar')
    args = parser.parse_intermixed_args(arguments)

    model = open_predictor(args.model, args.engine)
    names = model.spec.class_names
    other = open_predictor(args.compare, args.engine) if args.compare else None
    if other and other.spec.class_names != names:
        raise ConfigError(
            f'--compare: expected a model with the classes {", ".join(names)}, '
            f'got {", ".join(other.spec.class_names)}'
        )
    choice = choose_data(args, model.experiment, names)
    samples = [sample for split in read_choice(choice, ('val',))[1].values() for sample in split]
    if args.limit and args.limit < len(samples):
        samples = [samples[i * len(samples) // args.limit] for i in range(args.limit)]
    if not samples:
        raise DatasetError(choice.config.root, 'there is no image to score on')
    args.score_threshold = args.score_threshold or model.thresholds.score
    report = _evaluate(args.model, model, samples, args)
    other_report = _evaluate(args.compare, other, samples, args) if other else None
    facts = _describe(report, model, choice)
    if args.html:
        names_of_both = (
            Path(mask_secrets(path)).name for path in (args.model, choice.config.root)
        )
        page = report_page(
            report,
            ' on '.join(names_of_both),
            facts,
            other=other_report,
            epochs=read_epochs(args.model),
        )
        write_file(args.html, page)
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
        model.spec.class_names,
        score_threshold=args.score_threshold,
        ious=args.ious,
        model=f'{path} ({model.file_type})',
        speed=measure_speed(model.detector, samples),
    )


def _describe(report: Report, model: Predictor, choice: DataChoice) -> dict[str, str]:
    """Describe the model and the data for the report."""
    samples = report.samples
    height, width = model.spec.input_size
    sources = [
        f'{mask_secrets(source.root)} '
        f'({source.format}, {", ".join(choice.splits) or source.val_split})'
        for source in choice.sources
    ]
    num_objects = sum(len(sample.boxes) for sample in samples)
    num_regions = sum(len(sample.ignore) for sample in samples)
    return {
        'model': report.model,
        'input': f'{width} x {height} pixels, {model.spec.resize}',
        'classes': ', '.join(model.spec.class_names),
        'run by': str(model.detector.engine.info),
        'data': ', '.join(sources),
        'images': f'{len(samples)}, with {num_objects} objects and {num_regions} ignore regions',
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


def _positive_int(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise ArgumentTypeError(f'expected a whole number of at least 1, got {text!r}')
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
