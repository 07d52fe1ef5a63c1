"""``mnssd average``: average the weights of several runs."""

from collections.abc import Sequence
from pathlib import Path

from mnssd_perception.text import mask_secrets
from mnssd_training.cli.common import command, make_parser
from mnssd_training.cli.data_arguments import choose_data, read_choice
from mnssd_training.data.dataset import TrainingSet
from mnssd_training.errors import CheckpointError, DatasetError
from mnssd_training.train import load_checkpoint
from mnssd_training.train.average import average_checkpoints
from mnssd_training.train.checkpoint import read_experiment, save_checkpoint
from mnssd_training.train.recalibration import NUM_IMAGES, sample_batches

EXAMPLES = """\
  mnssd average runs/seed1/checkpoints/best.pt runs/seed2/checkpoints/best.pt --output soup.pt
  mnssd average seed1.pt seed2.pt seed3.pt --data DATA/hit_uav --output soup.pt
"""


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """
    Average the weights of runs that started from the same weights (model soup).

    The statistics of batch norms are measured anew on images of the training set.
    """
    parser = make_parser('average', main.__doc__, EXAMPLES)
    parser.add_argument('checkpoints', nargs='+', help='two or more checkpoints (.pt, also s3://)')
    parser.add_argument('--output', type=Path, required=True, metavar='FILE', help='a new .pt')
    parser.add_argument(
        '--data',
        dest='source',
        help='folder of a dataset, or an experiment, whose training images the statistics are of '
        '(default: the data that the first checkpoint was trained on)',
    )
    parser.set_defaults(overrides=[], format=None, class_map=[], split=[])
    args = parser.parse_args(arguments)
    if args.output.exists():
        raise CheckpointError(f'{args.output}: already exists; choose another --output')
    if len(set(args.checkpoints)) < len(args.checkpoints):
        raise CheckpointError('expected each checkpoint once')
    checkpoints = {mask_secrets(name): load_checkpoint(name) for name in args.checkpoints}
    first = next(iter(checkpoints.values()))
    experiment = read_experiment(first, next(iter(checkpoints)))
    choice = choose_data(args, first.experiment, first.spec.class_names)
    samples = [s for split in read_choice(choice, ('train',))[1].values() for s in split]
    if not samples:
        raise DatasetError(choice.config.root, 'expected at least one training image, got none')
    dataset = TrainingSet(
        samples,
        first.spec,
        experiment.augmentation,
        experiment.matching,
        experiment.training.seed,
    )
    size = experiment.input.train_size or experiment.input.size
    averaged = average_checkpoints(checkpoints, sample_batches(dataset, size))
    try:
        args.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f'{args.output}: cannot be written: {error.strerror}') from error
    save_checkpoint(args.output, averaged)
    print(
        f'averaged {len(checkpoints)} checkpoints; batch norms measured on '
        f'{min(NUM_IMAGES, len(samples))} images of {mask_secrets(choice.config.root)}'
    )
    print(f'checkpoint: {args.output}')
