"""``mnssd validate``: compare an ONNX file with the network that it was exported from."""

from argparse import Namespace
from collections.abc import Sequence
import json
from pathlib import Path

from mnssd_perception.errors import EngineError
from mnssd_perception.serialization import to_plain
from mnssd_perception.ssd import ModelSpec
from mnssd_perception.ssd.resize import resize_frame, resize_transform
from mnssd_training.cli.common import command, make_parser, positive_int, write_file
from mnssd_training.cli.data_arguments import add_data_arguments, choose_data, read_choice
from mnssd_training.data.sample import load_image, Sample
from mnssd_training.errors import DatasetError, ExportError
from mnssd_training.evaluation.detect import spread
from mnssd_training.export import ExportSource, open_source
from mnssd_training.export.validation import validate_network, Validation
import numpy as np
from numpy.typing import NDArray

EXAMPLES = """\
  mnssd validate network.onnx --against best.pt
  mnssd validate detector.onnx --against hit_uav-0.3.0.mnssd DATA/hit_uav --limit 50
  mnssd validate network.onnx --against best.pt --random-images 4   without data
"""


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """
    Check an ONNX file and compare it with a checkpoint or a bundle.

    It may have any form that mnssd exports, see `mnssd export-onnx`; of any other file, it says
    what does not fit. The exit code is 1 if the file does not match.
    """
    parser = make_parser('validate', main.__doc__, EXAMPLES)
    parser.add_argument('network', type=Path, help='the ONNX file')
    parser.add_argument(
        '--against',
        required=True,
        metavar='MODEL',
        help='a checkpoint (.pt, s3://) or a bundle',
    )
    add_data_arguments(parser, has_checkpoint=True)
    parser.add_argument('--limit', type=positive_int, help='largest number of images')
    parser.add_argument(
        '--random-images',
        type=positive_int,
        metavar='N',
        help='compare raw heads only, on N images of noise instead of a dataset',
    )
    parser.add_argument('--json', metavar='FILE', help='write the report there; - prints it')
    args = parser.parse_intermixed_args(arguments)
    try:
        network = args.network.read_bytes()
    except OSError as error:
        raise DatasetError(args.network, f'cannot read the network: {error.strerror}') from error
    source = open_source(args.against)
    spec = source.checkpoint.spec
    samples: list[Sample] = []
    if args.random_images:
        generator = np.random.default_rng(0)
        images = (
            generator.integers(0, 256, (*spec.input_size, 3), np.uint8)
            for _ in range(args.random_images)
        )
    else:
        samples = _read_samples(args, source)
        images = (_network_input(sample, spec) for sample in samples)
    try:
        model = source.checkpoint.build()
        validation = validate_network(network, model, images, samples, source.thresholds)
    except (EngineError, ExportError) as error:  # of the file
        raise ExportError(f'{args.network}: {error}') from error
    report = {**to_plain(validation), 'problems': list(validation.problems)}
    plain = json.dumps(report, indent=2, allow_nan=False)
    if args.json and args.json != '-':
        write_file(Path(args.json), plain + '\n')
    print(plain if args.json == '-' else _describe(validation))
    if validation.problems:
        raise ExportError(
            f'{args.network} does not match {args.against}: {"; ".join(validation.problems)}'
        )


def _read_samples(args: Namespace, source: ExportSource) -> list[Sample]:
    """Read the samples to compare on, evenly chosen."""
    checkpoint = source.checkpoint
    choice = choose_data(args, checkpoint.experiment, checkpoint.spec.class_names)
    samples = [sample for split in read_choice(choice, ('val',))[1].values() for sample in split]
    if not samples:
        raise DatasetError(choice.config.root, 'there is no image to compare on')
    return spread(samples, args.limit or len(samples))


def _network_input(sample: Sample, spec: ModelSpec) -> NDArray[np.uint8]:
    image = load_image(sample)
    return resize_frame(image, resize_transform(image.shape[:2], spec.input_size, spec.resize))


def _describe(validation: Validation) -> str:
    structure, heads, verdict = validation.structure, validation.heads, validation.verdict
    lines = [f'form: {structure.form}, {structure.precision}, opset {structure.opset}']
    if heads:
        lines.append(
            f'raw heads on {heads.num_images} images: logits differ by at most '
            f'{heads.logits:.2g} ({heads.mean_logits:.2g} on average), offsets by '
            f'{heads.offsets:.2g} ({heads.mean_offsets:.2g})'
        )
    if verdict:
        lines.append(
            f'detections: {verdict.num_changed} of {verdict.num_detections} changed; mean AP@0.5 '
            f'{verdict.map50:.4f}, of the model {verdict.map50_checkpoint:.4f}'
        )
    if not validation.problems:
        lines.append('the file matches')
    return '\n'.join(lines)
