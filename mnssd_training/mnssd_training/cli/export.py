"""``mnssd export``: export a checkpoint as a bundle for the drone."""

from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
import re
import sys
from time import perf_counter
from typing import Any

from mnssd_perception.bundle import Artefact
from mnssd_perception.text import mask_secrets
from mnssd_training.cli.common import command, make_parser
from mnssd_training.cli.data_arguments import add_data_arguments, choose_data, map_classes
from mnssd_training.config.compose import COMMAND_LINE
from mnssd_training.config.show import format_section
from mnssd_training.config.yaml_tree import children, from_plain, Node
from mnssd_training.data import read_splits
from mnssd_training.errors import ConfigError, DatasetError
from mnssd_training.export import (
    bundle_path,
    compose_deployment,
    Deployment,
    ExportSource,
    open_source,
    package,
    PackageNotes,
    Progress,
    read_deployment_file,
    validate_deployment,
)
from mnssd_training.priors import resize_spec
from mnssd_training.reporting.tables import format_score, format_table
from tqdm import tqdm

EXAMPLES = """\
  mnssd export runs/hit_uav_0123456789ab/checkpoints/best.pt --name hit_uav --version 1.0
  mnssd export best.pt DATA/hit_uav --name hit_uav --version 1.0 --input-size 512,640
  mnssd export --deployment deploy.yaml                    the whole chain, as the file says
  mnssd export --deployment deploy.yaml export.gate.max_drop_int8=0.5
  mnssd export hit_uav-1.0.mnssd DATA/hit_uav --version 1.1    a bundle again, with INT8 now
"""

OVERRIDE = re.compile(r'[A-Za-z_][A-Za-z0-9_.]*=')

# Arguments that set a key of the deployment.
FLAGS = (
    'checkpoint',
    'name',
    'version',
    'output',
    'dataset',
    'licence',
    'attribution',
    'input_size',
)


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Export a checkpoint, quantise it, measure it in every engine, and write a bundle."""
    parser = make_parser('export', main.__doc__, EXAMPLES)
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='of a training run, such as best.pt; also s3://, or a bundle to export again',
    )
    add_data_arguments(parser, has_checkpoint=True, has_split=False)
    parser.add_argument(
        '--deployment', type=Path, metavar='FILE', help='YAML file with the keys of an export'
    )
    parser.add_argument('--output', help='folder for the bundle, or its path, ending in .mnssd')
    parser.add_argument('--name', help='of the model')
    parser.add_argument('--version', help='of the model, such as 0.1.0')
    parser.add_argument('--train-split', help='list of the training images')
    parser.add_argument('--val-split', help='list of the images to score on')
    parser.add_argument(
        '--input-size',
        type=_size,
        metavar='HEIGHT,WIDTH',
        help='of the exported network, pixels; the weights fit any (default: as trained)',
    )
    parser.add_argument('--dataset', help='name of the dataset')
    parser.add_argument('--licence', help='of the data')
    parser.add_argument('--attribution', help='credit that the licence asks for')
    parser.add_argument(
        '--document',
        action='append',
        metavar='FILE',
        help='a text to put in, such as a model card; may be repeated',
    )
    parser.add_argument('--score-threshold', type=float, help='of the model (default: 0.35)')
    parser.add_argument(
        '--calibration-images',
        metavar='FOLDER',
        help='images for INT8 calibration (default: chosen from the training set)',
    )
    parser.add_argument(
        '--print-config', action='store_true', help='print all keys and who set them, and stop'
    )
    parser.add_argument('--quiet', action='store_true', help='no progress')
    args = parser.parse_intermixed_args(arguments)
    source, tree = _read_keys(args)
    deployment = validate_deployment(tree)
    if args.print_config:
        print(mask_secrets(format_section(deployment, tree).rstrip()))
        return
    path = bundle_path(Path(deployment.output), deployment.name, deployment.version)
    _export(args, source, deployment, path)


def _read_keys(args: Namespace) -> tuple[ExportSource, Node]:
    """Open the checkpoint and compose the keys of the deployment."""
    given = [item for item in (args.checkpoint, args.source, *args.overrides) if item]
    overrides = [item for item in given if OVERRIDE.match(item)]
    names = [item for item in given if item not in overrides]
    if len(names) > 2:
        raise ConfigError(f'expected CHECKPOINT, SOURCE and key.path=value, got {names[2]!r}')
    args.checkpoint, args.source = (*names, None, None)[:2]
    file = read_deployment_file(args.deployment) if args.deployment else Node({}, COMMAND_LINE)
    layers = [file, from_plain(_flags(args), COMMAND_LINE)]
    keys = {key: node for layer in layers for key, node in children(layer).items()}
    if 'checkpoint' not in keys:
        raise ConfigError('expected a checkpoint, or --deployment with a file that names one')
    source = open_source(str(keys['checkpoint'].value))
    if args.source:
        args.overrides = [item for item in overrides if item.startswith('data.')]
        choice = choose_data(args)
        known = {key: value for key, value in source.known.items() if key != 'data'}
        if choice.experiment:
            known['export'] = choice.experiment.export.model_dump(mode='json')
        source = replace(source, known=known)
        data = from_plain(choice.config.model_dump(mode='json'), COMMAND_LINE)
        layers.insert(1, Node({'data': data}, COMMAND_LINE))
    return source, compose_deployment(source, layers, overrides)


def _flags(args: Namespace) -> dict[str, Any]:
    """Sort the flags that were given into the keys of a deployment."""
    splits = {'train_split': args.train_split, 'val_split': args.val_split}
    calibration = {'calibration_images': args.calibration_images}
    flags = {
        **{key: getattr(args, key) for key in FLAGS},
        'documents': args.document,
        'data': {key: value for key, value in splits.items() if value},
        'thresholds': {'score': args.score_threshold} if args.score_threshold is not None else {},
        'export': {'quantization': calibration} if args.calibration_images else {},
    }
    return {key: value for key, value in flags.items() if value or value == ''}


def _export(args: Namespace, source: ExportSource, deployment: Deployment, path: Path) -> None:
    checkpoint = source.checkpoint
    if deployment.input_size:
        checkpoint = replace(checkpoint, spec=resize_spec(checkpoint.spec, deployment.input_size))
    documents = _read_documents([Path(name) for name in deployment.documents])
    notes = PackageNotes(
        deployment.name,
        deployment.version,
        deployment.dataset,
        deployment.licence,
        deployment.attribution,
        documents or source.documents,
        deployment.thresholds,
        source.trained,
    )
    config = map_classes(deployment.data, args, checkpoint.spec.class_names)
    data = read_splits(config)
    if not data.val:
        raise DatasetError(config.root, 'no images to score on; set --val-split')
    try:  # before the work, not after it
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(path.parent, f'cannot be made: {error.strerror}') from error
    step = partial(_show_step, quiet=args.quiet)
    manifest = package(checkpoint, data.train, data.val, path, notes, deployment.export, step=step)
    print(format_table([HEADER, *map(_summarize, manifest.artefacts)]))
    verdict = manifest.artefacts[0].gate
    assert verdict is not None  # of a bundle that has just been written
    parity = manifest.artefacts[0].metrics['parity_with_pytorch']
    print(
        f'checkpoint in PyTorch: mean AP@0.5 {verdict.map50_checkpoint:.4f} on '
        f'{verdict.num_images} images; largest difference from it over {parity["num_images"]} '
        f'images: {parity["logits"]:.2g} in logits, {parity["offsets"]:.2g} in offsets'
    )
    print(f'bundle: {path}')


HEADER = (
    'artefact',
    'engine',
    'AP@0.5',
    'drop',
    'detections',
    'changed',
    'MB',
    'p50 [ms]',
    'run by',
)


def _summarize(artefact: Artefact) -> list[str]:
    verdict, speed = artefact.gate, artefact.metrics.get('speed')
    assert verdict is not None  # of a bundle that has just been written
    return [
        artefact.path,
        f'{artefact.engine} {artefact.precision}',
        f'{verdict.map50:.4f}',
        f'{verdict.drop:+.2f}',
        str(verdict.num_detections),
        str(verdict.num_changed),
        f'{artefact.metrics["size_bytes"] / 1e6:.2f}',
        format_score(speed['stages']['engine']['p50'] if speed else None, 1),
        verdict.scored_with.partition(',')[0],
    ]


@contextmanager
def _show_step(title: str, num_images: int, quiet: bool) -> Iterator[Progress]:
    """Show a step with a bar while it runs, and how long it took."""
    started = perf_counter()
    hidden = quiet or not num_images or None
    with tqdm(None, title, num_images, unit='image', leave=False, disable=hidden) as bar:
        yield bar.update
    if not quiet:
        print(f'{title}: {perf_counter() - started:.1f} s', file=sys.stderr)


def _size(text: str) -> tuple[int, int]:
    sides = text.replace('x', ',').split(',')
    if len(sides) != 2 or not all(side.strip().isdecimal() and int(side) for side in sides):
        raise ArgumentTypeError(f'expected HEIGHT,WIDTH in pixels, got {text!r}')
    return int(sides[0]), int(sides[1])


def _read_documents(paths: Sequence[Path]) -> dict[str, bytes]:
    """Read texts by the names that they get in the bundle."""
    documents: dict[str, bytes] = {}
    for path in paths:
        if path.name in documents:
            raise DatasetError(path, 'expected documents with different names, got another one')
        try:
            documents[path.name] = path.read_bytes()
        except OSError as error:
            raise DatasetError(path, f'cannot read the document: {error.strerror}') from error
    return documents
