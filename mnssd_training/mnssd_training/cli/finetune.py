"""
``mnssd finetune``: train on a folder of YOLO labels, with the flags of the script before mnssd.

The flags and their defaults are those of ``train_mobilenetv2_ssd.py``. Each sets one key of the
experiment ``finetune``; the rest is ``mnssd train``. Improvements over the script: each epoch is
evaluated on the validation set, and that chooses ``best.pt``, not the training loss; a missing
image is an error; a run resumes in the middle of an epoch, bit for bit; ``--amp`` needs no loss
scale that a resumed run could lack; ``--batch-size`` counts the images of all GPUs together.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from mnssd_perception.text import mask_secrets
from mnssd_training.cli.common import command, make_parser
from mnssd_training.cli.train import add_run_options, run_training
from mnssd_training.config import compose, format_experiment, format_flow, load_experiment
from mnssd_training.config.yaml_tree import find, to_plain

EXAMPLES = """\
  mnssd finetune --data-root finetune_dataset --epochs 50 --batch-size 8
  mnssd finetune --data-root finetune_dataset --weights-backbone imagenet --resume
  mnssd finetune --data-root finetune_dataset --set training.ema_decay=0.999 --print-config
"""
EXPERIMENT = 'finetune'
DEVICES = {'auto': 'auto', 'cpu': 'cpu', 'cuda': 'gpu'}


# Flag: key, help, conversion of the value to YAML; numbers stay as they are and are validated.
FLAGS: dict[str, tuple[str, str, Callable[[str], str]]] = {
    '--data-root': ('data.root', 'folder with images/, labels/ and classes.txt', format_flow),
    '--train-split': (
        'data.train_split',
        'list of training images: the name of a file in splits/, or a path',
        format_flow,
    ),
    '--val-split': ('data.val_split', 'list of validation images, likewise', format_flow),
    '--image-size': ('input.size', 'side of the network input, pixels', '[{0}, {0}]'.format),
    '--epochs': ('training.epochs', 'passes over the training set', str),
    '--batch-size': ('training.batch_size', 'images per step', str),
    '--lr': ('optimizer.learning_rate', 'learning rate; divided by 10 every 20 epochs', str),
    '--momentum': ('optimizer.momentum', 'momentum of SGD', str),
    '--weight-decay': ('optimizer.weight_decay', 'of convolution weights', str),
    '--workers': ('training.workers', 'processes that load images', str),
    '--output-dir': ('logging.root', 'folder of all runs', format_flow),
    '--weights-backbone': (
        'initial.backbone_weights',
        'none, imagenet, or a file of weights',
        lambda weights: format_flow('' if weights == 'none' else weights),
    ),
    '--device': (
        'training.accelerator',
        f'one of {", ".join(DEVICES)}',
        lambda device: format_flow(DEVICES.get(device, device)),
    ),
    '--seed': ('training.seed', 'seed of all random numbers', str),
}
SWITCHES = {
    '--amp': ('training.precision=bf16', 'compute convolutions in bfloat16'),
    '--strict-labels': (
        'data.strict_labels=true',
        'refuse class ids beyond classes.txt; by default they are skipped and counted',
    ),
}


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Train a MobileNetV2-SSD on a folder of YOLO labels."""
    parser = make_parser('finetune', main.__doc__, EXAMPLES)
    preset = compose(EXPERIMENT)
    for flag, (key, description, _) in FLAGS.items():
        default = format_flow(to_plain(find(preset, key.split('.'))))
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
    args = parser.parse_args(arguments)
    values = {flag: getattr(args, flag[2:].replace('-', '_')) for flag in (*FLAGS, *SWITCHES)}
    overrides = [
        f'{key}={to_yaml(values[flag])}'
        for flag, (key, _, to_yaml) in FLAGS.items()
        if values[flag] is not None
    ]
    overrides += [override for flag, (override, _) in SWITCHES.items() if values[flag]]
    experiment = load_experiment(EXPERIMENT, [*overrides, *args.set])
    run = Path(experiment.logging.root) / args.run_name if args.run_name else None
    config_yaml = mask_secrets(format_experiment(experiment))
    run_training(experiment, args, run, config_yaml, arguments)
