"""``mnssd compile-hailo``: compile a checkpoint for a Hailo chip."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from mnssd_perception.engines import Engine
from mnssd_perception.ssd import Thresholds
from mnssd_training.cli.common import command, make_parser, positive_int, write_file
from mnssd_training.cli.data_arguments import add_data_arguments, choose_data, DataChoice
from mnssd_training.config import GateConfig
from mnssd_training.data import read_splits, Sample
from mnssd_training.errors import DatasetError, ExportError
from mnssd_training.export import (
    choose_calibration_samples,
    compile_hailo,
    export_for_hailo,
    HailoOptions,
    load_calibration_images,
    prepare_hailo,
)
from mnssd_training.export.gate import check_artefact, choose_limits, make_reference
from mnssd_training.export.hailo_compiler import ARCHITECTURES, check_compiler
from mnssd_training.model import MobileNetSsd, TorchEngine
from mnssd_training.train import load_checkpoint

EXAMPLES = """\
  mnssd compile-hailo best.pt --arch hailo8l --output hit_uav.hef
  mnssd compile-hailo best.pt DATA/hit_uav --arch hailo10h --prepare for_the_compiler
"""


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Quantise a checkpoint for a Hailo chip, measure it in the emulator, and compile it."""
    parser = make_parser('compile-hailo', main.__doc__, EXAMPLES)
    parser.add_argument('checkpoint', help='of a training run, such as best.pt; also s3://')
    add_data_arguments(parser, has_checkpoint=True, has_split=False)
    parser.add_argument('--arch', required=True, choices=ARCHITECTURES, help='chip')
    parser.add_argument(
        '--output', type=Path, default=Path('network.hef'), help='HEF to write (%(default)s)'
    )
    parser.add_argument(
        '--prepare',
        type=Path,
        metavar='FOLDER',
        help='write what the compiler needs to a folder, to compile on another machine',
    )
    parser.add_argument(
        '--num-calibration', type=positive_int, default=64, help='training images (%(default)s)'
    )
    parser.add_argument(
        '--calibration-images',
        type=Path,
        metavar='FOLDER',
        help='images for calibration (default: chosen from the training set)',
    )
    defaults = HailoOptions()
    parser.add_argument(
        '--optimization-level',
        type=int,
        choices=range(5),
        default=defaults.optimization_level,
        help="effort of the compiler's quantisation; from 2 on it needs a GPU (%(default)s)",
    )
    parser.add_argument(
        '--output-bits',
        type=int,
        choices=(8, 16),
        default=defaults.output_bits,
        help='precision of the outputs (%(default)s)',
    )
    parser.add_argument(
        '--no-check', action='store_true', help='compile without measuring the accuracy'
    )
    args = parser.parse_intermixed_args(arguments)
    if not args.prepare:
        check_compiler(args.arch)  # before the work, not after it
    _compile(args)


def _compile(args: Namespace) -> None:
    checkpoint = load_checkpoint(args.checkpoint)
    choice = choose_data(args, checkpoint.experiment, checkpoint.spec.class_names)
    data = read_splits(choice.config)
    model = checkpoint.build()
    samples = args.calibration_images or choose_calibration_samples(
        data.train, args.num_calibration
    )
    images = load_calibration_images(samples, model.spec)
    options = HailoOptions(args.optimization_level, output_bits=args.output_bits)
    network = export_for_hailo(model)
    if args.prepare:
        commands = prepare_hailo(network, images, args.arch, args.prepare, options)
        print(
            f'{args.prepare}: copy it to a machine with the Dataflow Compiler '
            f'{ARCHITECTURES[args.arch]}.x, and run there in that folder:\n{commands}'
        )
        return
    if not (data.val or args.no_check):
        raise DatasetError(choice.config.root, 'no images to measure on; add --no-check')

    def check(engine: Engine) -> None:
        if not args.no_check:
            _check(model, engine, data.val, choice)

    hef = compile_hailo(network, images, args.arch, options=options, check=check)
    write_file(args.output, hef)
    print(f'{args.output}: {len(hef)} bytes for {args.arch}')


def _check(
    model: MobileNetSsd, engine: Engine, samples: Sequence[Sample], choice: DataChoice
) -> None:
    """Stop if the emulated network has lost too much of what the checkpoint detects."""
    reference = make_reference(TorchEngine(model), samples, Thresholds())
    gate = choice.experiment.export.gate if choice.experiment else GateConfig()
    verdict = check_artefact(reference, engine, choose_limits(gate, 'int8')).verdict
    print(
        f'{engine.info}: mean AP@0.5 {verdict.map50:.4f} on {verdict.num_images} images, '
        f'{verdict.drop:.2f} points less than the checkpoint; {verdict.num_changed} of '
        f'{verdict.num_detections} detections changed'
    )
    if not verdict.passed:
        raise ExportError(
            f'the accuracy gate refused the quantised network: {"; ".join(verdict.reasons)}; try '
            '--output-bits 16, a higher --optimization-level, or more calibration images'
        )
