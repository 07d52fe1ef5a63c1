"""``export``: a checkpoint to a bundle that flies."""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
import sys

from mnssd_perception.bundle import Thresholds
from mnssd_training.cli.verb import run_verb
from mnssd_training.data import read_voc
from mnssd_training.errors import DatasetError
from mnssd_training.export import package, PackageNotes
from mnssd_training.train import load_checkpoint


def _verb(arguments: Sequence[str] | None) -> None:
    """Parse and pack."""
    parser = ArgumentParser(
        'export', description='Export a checkpoint to ONNX, check it, score it and pack a bundle.'
    )
    parser.add_argument('checkpoint', type=Path, help='of a training run, such as best.pt')
    parser.add_argument('data', type=Path, help='folder of the data set, PASCAL VOC layout')
    parser.add_argument('--output', type=Path, default=Path(), help='folder for the bundle')
    parser.add_argument('--name', required=True, help='of the model')
    parser.add_argument('--version', required=True, help='of the model, such as 0.1.0')
    parser.add_argument('--train-split', default='train', help='list that it was trained on')
    parser.add_argument('--val-split', default='val', help='list to score on')
    parser.add_argument('--dataset', default='', help='name of the data set')
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
    args = parser.parse_args(arguments)
    checkpoint = load_checkpoint(args.checkpoint)
    classes = checkpoint.spec.class_names
    notes = PackageNotes(
        args.name,
        args.version,
        args.dataset,
        args.licence,
        args.attribution,
        {path.name: _read(path) for path in args.document},
        Thresholds(score=args.score_threshold),
    )
    _make(args.output)
    path = args.output / f'{args.name}-{args.version}.mnssd'
    manifest = package(
        checkpoint,
        read_voc(args.data, args.train_split, classes),
        read_voc(args.data, args.val_split, classes),
        path,
        notes,
    )
    metrics = manifest.artefacts[0].metrics
    parity = metrics['parity_with_pytorch']
    print(f'bundle: {path}')
    print(f'mean AP@0.5 through the engine: {metrics["scores"]["map50"]:.4f}')
    print(
        f'largest difference from PyTorch over {parity["num_images"]} photographs: '
        f'{parity["logits"]:.2g} in logits, {parity["offsets"]:.2g} in offsets, '
        f'{parity["boxes"]:.2g} pixels in boxes'
    )


def _make(folder: Path) -> None:
    """Make the folder for the bundle, before the work and not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(folder, f'cannot be made: {error.strerror}') from error


def _read(path: Path) -> bytes:
    """Read a document."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(path, f'cannot read the document: {error.strerror}') from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
