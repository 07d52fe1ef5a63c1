"""``mnssd export``: export a checkpoint as a bundle for the drone."""

from argparse import ArgumentTypeError
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mnssd_perception.ssd import Thresholds
from mnssd_training.cli.common import command, make_parser
from mnssd_training.cli.data_arguments import add_data_arguments, choose_data
from mnssd_training.data import read_splits
from mnssd_training.errors import DatasetError
from mnssd_training.export import bundle_path, package, PackageNotes
from mnssd_training.priors import resize_spec
from mnssd_training.train import load_checkpoint

EXAMPLES = """\
  mnssd export runs/hit_uav_0123456789ab/checkpoints/best.pt --name hit_uav --version 1.0
  mnssd export best.pt DATA/hit_uav --name hit_uav --version 1.0 --input-size 512,640
"""


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Export a checkpoint to ONNX, check and score it, and write a bundle."""
    parser = make_parser('export', main.__doc__, EXAMPLES)
    parser.add_argument('checkpoint', help='of a training run, such as best.pt; also s3://')
    add_data_arguments(parser, has_checkpoint=True, has_split=False)
    parser.add_argument(
        '--output',
        type=Path,
        default=Path(),
        help='folder for the bundle, or its path, ending in .mnssd',
    )
    parser.add_argument('--name', required=True, help='of the model')
    parser.add_argument('--version', required=True, help='of the model, such as 0.1.0')
    parser.add_argument('--train-split', help='list of the training images')
    parser.add_argument('--val-split', help='list of the images to score on')
    parser.add_argument(
        '--input-size',
        type=_size,
        metavar='HEIGHT,WIDTH',
        help='of the exported network, pixels; the weights fit any (default: as trained)',
    )
    parser.add_argument('--dataset', default='', help='name of the dataset')
    parser.add_argument('--licence', default='', help='of the data')
    parser.add_argument('--attribution', default='', help='credit that the licence asks for')
    parser.add_argument(
        '--document',
        type=Path,
        action='append',
        default=[],
        metavar='FILE',
        help='a text to put in, such as a model card; may be repeated',
    )
    parser.add_argument('--score-threshold', type=float, default=Thresholds().score)
    args = parser.parse_intermixed_args(arguments)
    checkpoint = load_checkpoint(args.checkpoint)
    if args.input_size:
        checkpoint = replace(checkpoint, spec=resize_spec(checkpoint.spec, args.input_size))
    texts = (args.name, args.version, args.dataset, args.licence, args.attribution)
    documents = {path.name: _read_document(path) for path in args.document}
    notes = PackageNotes(*texts, documents, Thresholds(score=args.score_threshold))
    splits = {'train_split': args.train_split, 'val_split': args.val_split}
    config = choose_data(args, checkpoint.experiment, checkpoint.spec.class_names).config
    config = config.model_copy(update={key: name for key, name in splits.items() if name})
    data = read_splits(config)
    if not data.val:
        raise DatasetError(config.root, 'no images to score on; set --val-split')
    path = bundle_path(args.output, args.name, args.version)
    try:  # before the work, not after it
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(path.parent, f'cannot be made: {error.strerror}') from error
    metrics = package(checkpoint, data.train, data.val, path, notes).artefacts[0].metrics
    parity = metrics['parity_with_pytorch']
    print(f'bundle: {path}')
    print(f'mean AP@0.5 through the engine: {metrics["scores"]["map50"]:.4f}')
    print(
        f'largest difference from PyTorch over {parity["num_images"]} images: '
        f'{parity["logits"]:.2g} in logits, {parity["offsets"]:.2g} in offsets, '
        f'{parity["boxes"]:.2g} pixels in boxes'
    )


def _size(text: str) -> tuple[int, int]:
    sides = text.replace('x', ',').split(',')
    if len(sides) != 2 or not all(side.strip().isdecimal() and int(side) for side in sides):
        raise ArgumentTypeError(f'expected HEIGHT,WIDTH in pixels, got {text!r}')
    return int(sides[0]), int(sides[1])


def _read_document(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(path, f'cannot read the document: {error.strerror}') from error
