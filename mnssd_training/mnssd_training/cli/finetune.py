"""
``mnssd finetune``: train on a folder of YOLO labels, with the flags of the script before mnssd.

The flags and their defaults are those of ``train_mobilenetv2_ssd.py``. Each sets one key of the
experiment ``finetune``; the rest is ``mnssd train``. Improvements over the script: each epoch is
evaluated on the validation set, and that chooses ``best.pt``, not the training loss; a missing
image is an error; a run resumes in the middle of an epoch, bit for bit; ``--amp`` needs no loss
scale that a resumed run could lack; ``--batch-size`` counts the images of all GPUs together.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
import sys
from typing import NamedTuple

from mnssd_perception.text import mask_secrets
from mnssd_training.cli.train import add_run_options, print_dry_run, run_training
from mnssd_training.cli.verb import run_verb
from mnssd_training.config import compose, draw, one_line, validate
from mnssd_training.config.tree import find, to_plain

EPILOG = """\
examples:
  mnssd finetune --data-root finetune_dataset --epochs 50 --batch-size 8
  mnssd finetune --data-root finetune_dataset --weights-backbone imagenet --resume
  mnssd finetune --data-root finetune_dataset --set training.ema_decay=0.999 --print-config
"""
EXPERIMENT = 'finetune'
DEVICES = {'auto': 'auto', 'cpu': 'cpu', 'cuda': 'gpu'}


class Flag(NamedTuple):
    """
    A flag that sets a key of the experiment.

    :ivar to_yaml: converts the value of the flag to YAML.
    """

    key: str
    help: str
    to_yaml: Callable[[str], str] = one_line


def _number(text: str) -> str:
    return text  # as it is; validation checks it


def _square(side: str) -> str:
    return f'[{side}, {side}]'


def _weights(text: str) -> str:
    return one_line('' if text == 'none' else text)


def _accelerator(device: str) -> str:
    return one_line(DEVICES.get(device, device))  # validation refuses an unknown one


FLAGS = {
    '--data-root': Flag('data.root', 'folder with images/, labels/ and classes.txt'),
    '--train-split': Flag(
        'data.train_split', 'list of training images: the name of a file in splits/, or a path'
    ),
    '--val-split': Flag('data.val_split', 'list of validation images, likewise'),
    '--image-size': Flag('input.size', 'side of the network input, pixels', _square),
    '--epochs': Flag('training.epochs', 'passes over the training set', _number),
    '--batch-size': Flag('training.batch_size', 'images per step', _number),
    '--lr': Flag(
        'optimizer.learning_rate', 'learning rate; divided by 10 every 20 epochs', _number
    ),
    '--momentum': Flag('optimizer.momentum', 'momentum of SGD', _number),
    '--weight-decay': Flag('optimizer.weight_decay', 'of convolution weights', _number),
    '--workers': Flag('training.workers', 'processes that load images', _number),
    '--output-dir': Flag('logging.root', 'folder of all runs'),
    '--weights-backbone': Flag(
        'initial.backbone_weights', 'none, imagenet, or a file of weights', _weights
    ),
    '--device': Flag('training.accelerator', f'one of {", ".join(DEVICES)}', _accelerator),
    '--seed': Flag('training.seed', 'seed of all random numbers', _number),
}
SWITCHES = {
    '--amp': ('training.precision=bf16', 'compute convolutions in bfloat16'),
    '--strict-labels': (
        'data.strict_labels=true',
        'refuse class ids beyond classes.txt; by default they are skipped and counted',
    ),
}


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        'mnssd finetune',
        description='Train a MobileNetV2-SSD on a folder of YOLO labels.',
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    preset = compose(EXPERIMENT)
    for flag, (key, description, _) in FLAGS.items():
        default = one_line(to_plain(find(preset, key.split('.'))))
        parser.add_argument(
            flag, help=f'{description} (default: {default}; sets {key})', metavar='VALUE'
        )
    for flag, (override, description) in SWITCHES.items():
        parser.add_argument(flag, action='store_true', help=f'{description} (sets {override})')
    parser.add_argument(
        '--run-name', help='folder of the run in --output-dir (default: finetune_<fingerprint>)'
    )
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='key.path=value',
        help='override a key of the experiment; may be repeated',
    )
    add_run_options(parser)
    return parser


def _verb(arguments: Sequence[str] | None) -> None:
    args = _parser().parse_args(arguments)
    values = {flag: getattr(args, flag[2:].replace('-', '_')) for flag in (*FLAGS, *SWITCHES)}
    overrides = [
        f'{key}={to_yaml(values[flag])}'
        for flag, (key, _, to_yaml) in FLAGS.items()
        if values[flag] is not None
    ]
    overrides += [override for flag, (override, _) in SWITCHES.items() if values[flag]]
    tree = compose(EXPERIMENT, [*overrides, *args.set])
    experiment = validate(tree)
    if args.print_config:
        print(mask_secrets(draw(experiment, tree)), end='')
    elif args.dry_run:
        print_dry_run(experiment)
    else:
        run_training(
            experiment,
            run=Path(experiment.logging.root) / args.run_name if args.run_name else None,
            resume=args.resume,
            progress=not args.quiet,
            arguments=list(sys.argv[1:] if arguments is None else arguments),
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
