"""``evaluate``: a checkpoint, an ONNX file or a bundle to its scores, as text, JSON and HTML."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from contextlib import contextmanager
import json
from pathlib import Path
import sys
from typing import Any

from mnssd_perception.ssd import Detections
from mnssd_perception.text import mask_secrets
from mnssd_training.cli.common import run_verb, write_file
from mnssd_training.cli.data_arguments import (
    add_data_arguments,
    choose_data,
    DataChoice,
    read_choice,
)
from mnssd_training.cli.subject import open_predictor, Predictor
from mnssd_training.data import Sample
from mnssd_training.errors import ConfigError, DatasetError
from mnssd_training.evaluation.history import read_history
from mnssd_training.evaluation.page import draw_failures, draw_scenes, report_page
from mnssd_training.evaluation.report import Evaluation, make_report
from mnssd_training.evaluation.scenes import choose_differing_scenes
from mnssd_training.evaluation.speed import measure_speed
from mnssd_training.evaluation.text import report_text
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
    """Parse, score and tell."""
    parser = ArgumentParser(
        'mnssd evaluate',
        description='Score a model on annotated images, as it flies.',
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'model', help='a checkpoint (.pt, also s3://), an ONNX file or a bundle (.mnssd)'
    )
    add_data_arguments(parser, has_checkpoint=True)
    parser.add_argument('--compare', metavar='MODEL', help='score this one, too, side by side')
    parser.add_argument('--limit', type=_count, help='score on this many images only')
    parser.add_argument('--engine', default='auto', help='of a bundle or ONNX file')
    parser.add_argument(
        '--score-threshold',
        type=_share,
        help='for confusions and failures (default: that of the model)',
    )
    parser.add_argument(
        '--ious',
        type=_shares,
        default=(0.5,),
        metavar='0.5,0.75',
        help="IoU thresholds of VOC's average precision (default: 0.5)",
    )
    parser.add_argument('--json', metavar='FILE', help='write everything there; - prints it')
    parser.add_argument('--html', type=Path, metavar='FILE', help='write a page with images')
    parser.add_argument('--quiet', action='store_true', help='no progress bar')
    args = parser.parse_intermixed_args(arguments)

    subject = open_predictor(args.model, args.engine)
    names = subject.spec.class_names
    other = open_predictor(args.compare, args.engine) if args.compare else None
    if other and other.spec.class_names != names:
        raise ConfigError(
            f'--compare: expected a model with the classes {", ".join(names)}, '
            f'got {", ".join(other.spec.class_names)}'
        )
    choice = choose_data(args, subject.experiment, names)
    samples = [sample for own in read_choice(choice, ('val',))[1].values() for sample in own]
    if args.limit and args.limit < len(samples):
        samples = [samples[i * len(samples) // args.limit] for i in range(args.limit)]
    if not samples:
        raise DatasetError(choice.config.root, 'there is no image to score on')
    threshold = args.score_threshold or subject.thresholds.score
    evaluated = _evaluate(subject, samples, args, threshold)
    models = [evaluated]
    facts = _facts(args.model, subject, choice, samples)
    report = {'model': facts['model'], 'measured_on': facts, **evaluated[0].report}
    if other:
        models.append(_evaluate(other, samples, args, threshold))
        model = f'{args.compare} ({other.kind})'
        report['compared_with'] = {'model': model, **models[1][0].report}
    if args.html:
        evaluation, found = evaluated
        outcomes = [one.outcomes for one, _ in models]
        scenes = (
            choose_differing_scenes(samples, [found for _, found in models], outcomes)
            if other
            else evaluation.scenes
        )
        page = report_page(
            report,
            f'{_last_part(args.model)} on {_last_part(choice.config.root)}',
            facts,
            draw_failures(samples, found, evaluation.failures),
            scenes=draw_scenes(samples, models, scenes),
            history=read_history(args.model),
        )
        write_file(args.html, page)
    plain = json.dumps(report, indent=2, allow_nan=False)
    if args.json and args.json != '-':
        write_file(Path(args.json), plain + '\n')
    print(plain if args.json == '-' else report_text(report))


def _evaluate(
    subject: Predictor, samples: list[Sample], args: Namespace, threshold: float
) -> tuple[Evaluation, list[Detections]]:
    """Detect, score and time."""
    with _bar(len(samples), args.quiet) as progress:
        found = subject.detect_samples(samples, progress)
    evaluation = make_report(
        samples, found, subject.spec.class_names, score_threshold=threshold, ious=args.ious
    )
    evaluation.report['speed'] = measure_speed(subject.detect, samples, subject.ran_on)
    return evaluation, found


def _facts(
    model: str, subject: Predictor, choice: DataChoice, samples: list[Sample]
) -> dict[str, str]:
    """Say what was scored on what."""
    height, width = subject.spec.input_size
    sources = [
        f'{mask_secrets(source.root)} '
        f'({source.format}, {", ".join(choice.splits) or source.val_split})'
        for source in choice.sources
    ]
    num_objects = sum(len(sample.boxes) for sample in samples)
    num_regions = sum(len(sample.ignore) for sample in samples)
    return {
        'model': f'{model} ({subject.kind})',
        'input': f'{width} x {height} pixels, {subject.spec.resize}',
        'classes': ', '.join(subject.spec.class_names),
        'run by': subject.ran_on,
        'data': ', '.join(sources),
        'images': f'{len(samples)}, with {num_objects} objects and {num_regions} ignore regions',
    }


@contextmanager
def _bar(total: int, quiet: bool) -> Any:
    """Show how far the scoring is."""
    with tqdm(total=total, desc='scoring', unit='image', disable=quiet or None) as bar:
        yield bar.update


def _share(text: str) -> float:
    """Read a number between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise ArgumentTypeError(f'expected more than 0 and less than 1, got {text!r}')
    return value


def _shares(text: str) -> tuple[float, ...]:
    """Read numbers between 0 and 1 with commas between them."""
    return tuple(map(_share, text.split(',')))


def _count(text: str) -> int:
    """Read a number of things."""
    if not (text.isdecimal() and int(text)):
        raise ArgumentTypeError(f'expected a whole number of at least 1, got {text!r}')
    return int(text)


def _last_part(place: str) -> str:
    """Name a path or an address by its end, without passwords."""
    return Path(mask_secrets(place)).name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
