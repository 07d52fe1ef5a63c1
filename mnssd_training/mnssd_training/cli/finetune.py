"""
``finetune``: a folder of YOLO labels to a run folder, with the flags of the script before mnssd.

The flags and their defaults are those of ``train_mobilenetv2_ssd.py``; each sets one key of the
experiment ``finetune``, and the rest is the verb ``train``. What is better than it was: validation
images are scored after each epoch, and ``best.pt`` goes by that and not by the loss on the
training set; an image that is missing is told, not passed over; a run goes on in the middle of
an epoch, bit for bit; ``--amp`` needs no loss scale that a resumed run could lack; and
``--batch-size`` is that of all GPUs together.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
import sys
from typing import NamedTuple

from mnssd_perception.text import mask_secrets
from mnssd_training.cli.common import run_verb
from mnssd_training.cli.train import dry_run, run_training
from mnssd_training.config import compose, format_experiment, format_flow, load_experiment
from mnssd_training.config.yaml_tree import find, to_plain

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
    A flag with a value.

    :ivar key: of the experiment that it sets.
    :ivar to_yaml: turns what was given into the YAML of that key.
    :ivar help: for people.
    """

    key: str
    to_yaml: Callable[[str], str]
    help: str


def _as_is(text: str) -> str:
    """Take a number for what it is; the schema checks it."""
    return text


def _square(text: str) -> str:
    """Turn a side into (height, width)."""
    return f'[{text}, {text}]'


def _weights(text: str) -> str:
    """Turn the word for none into none."""
    return format_flow('' if text == 'none' else text)


def _device(text: str) -> str:
    """Turn a device of torch into a kind of device; an unknown one is the schema's to refuse."""
    return format_flow(DEVICES.get(text, text))


FLAGS = {
    '--data-root': Flag('data.root', format_flow, 'folder with images/, labels/ and classes.txt'),
    '--train-split': Flag(
        'data.train_split', format_flow, 'list of image paths, by name in splits/ or as a path'
    ),
    '--val-split': Flag('data.val_split', format_flow, 'the same, to score on'),
    '--image-size': Flag('input.size', _square, 'side of the network input, pixels'),
    '--epochs': Flag('training.epochs', _as_is, 'passes over the training set'),
    '--batch-size': Flag('training.batch_size', _as_is, 'images a step'),
    '--lr': Flag('optimizer.learning_rate', _as_is, 'a tenth of it after every 20 epochs'),
    '--momentum': Flag('optimizer.momentum', _as_is, 'of SGD'),
    '--weight-decay': Flag('optimizer.weight_decay', _as_is, 'on convolution weights'),
    '--workers': Flag('training.workers', _as_is, 'processes that load images'),
    '--output-dir': Flag('logging.root', format_flow, 'folder of all runs'),
    '--weights-backbone': Flag(
        'initial.backbone_weights', _weights, 'none, imagenet, or a file of weights'
    ),
    '--device': Flag('training.accelerator', _device, f'one of {", ".join(DEVICES)}'),
    '--seed': Flag('training.seed', _as_is, 'of everything random'),
}
SWITCHES = {
    '--amp': ('training.precision=bf16', 'compute convolutions in bfloat16'),
    '--strict-labels': (
        'data.strict_labels=true',
        'refuse class ids beyond classes.txt, which are skipped and counted otherwise',
    ),
}


def _parser() -> ArgumentParser:
    """Describe the command line."""
    parser = ArgumentParser(
        'mnssd finetune',
        description='Train a MobileNetV2-SSD on a folder of YOLO labels.',
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    preset = compose(EXPERIMENT)
    for flag, (key, _, about) in FLAGS.items():
        default = format_flow(to_plain(find(preset, key.split('.'))))
        parser.add_argument(
            flag, help=f'{about} (default: {default}; sets {key})', metavar='VALUE'
        )
    for flag, (override, about) in SWITCHES.items():
        parser.add_argument(flag, action='store_true', help=f'{about} (sets {override})')
    parser.add_argument(
        '--run-name', help='folder of the run in --output-dir (default: finetune_<fingerprint>)'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const=True,
        metavar='CHECKPOINT',
        help='go on from the newest checkpoint of the run, or from this one, a path or s3://',
    )
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='key.path=value',
        help='a change to the experiment, any number of times',
    )
    parser.add_argument('--quiet', action='store_true', help='no progress bars, no sentences')
    parser.add_argument(
        '--print-config', action='store_true', help='print the experiment that results, and stop'
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='build everything, look at one batch and stop'
    )
    return parser


def _verb(arguments: Sequence[str] | None) -> None:
    """Parse and train."""
    args = _parser().parse_args(arguments)
    given = vars(args)
    overrides = [
        f'{key}={to_yaml(given[_name(flag)])}'
        for flag, (key, to_yaml, _) in FLAGS.items()
        if given[_name(flag)] is not None
    ]
    overrides += [override for flag, (override, _) in SWITCHES.items() if given[_name(flag)]]
    experiment = load_experiment(EXPERIMENT, [*overrides, *args.set])
    if args.print_config:
        print(mask_secrets(format_experiment(experiment)), end='')
    elif args.dry_run:
        dry_run(experiment)
    else:
        run_training(
            experiment,
            run=Path(experiment.logging.root) / args.run_name if args.run_name else None,
            resume=args.resume,
            progress=not args.quiet,
            args=list(sys.argv[1:] if arguments is None else arguments),
        )


def _name(flag: str) -> str:
    """Tell where argparse puts the value of a flag."""
    return flag.removeprefix('--').replace('-', '_')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb."""
    return run_verb(_verb, arguments)


if __name__ == '__main__':
    sys.exit(main())
