"""An experiment to what the loop works on: images, specification, network, loss."""

from collections.abc import Iterator
from dataclasses import dataclass

from mnssd_perception.ssd import ModelSpec
from mnssd_perception.text import mask_secrets
from mnssd_training.config import Experiment
from mnssd_training.data.dataset import TrainingSet
from mnssd_training.data.sources import read_splits, Splits
from mnssd_training.errors import CheckpointError, DatasetError
from mnssd_training.loss import Criterion
from mnssd_training.model import build_model, MobileNetSsd
from mnssd_training.model.onnx_weights import recalibrate_batch_norms
from mnssd_training.model.weights import load_matching_layers
from mnssd_training.priors import make_spec
from mnssd_training.train.initial import InitialWeights, read_initial
import torch

NUM_MEASURED = 64  # images that give the normalisations of a bundle their statistics
ENOUGH = 0.5  # share of the weights of a checkpoint to begin with that should fit


@dataclass(frozen=True)
class Prepared:
    """
    What the loop works on.

    :ivar splits: the images.
    :ivar spec: what goes in and comes out of the network.
    :ivar model: the network with its first weights, in training mode, on the host.
    :ivar dataset: makes the items of the training set.
    :ivar criterion: the loss.
    :ivar notes: what a person should know, a line each.
    :ivar warnings: what is probably not meant, a line each.
    """

    splits: Splits
    spec: ModelSpec
    model: MobileNetSsd
    dataset: TrainingSet
    criterion: Criterion
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def prepare(experiment: Experiment) -> Prepared:
    """
    Read the images and build the network.

    :param experiment: what to train on what.
    :return: what the loop works on; the same for the same experiment.
    :raises MnssdError: naming the file or the key that is wrong.
    """
    splits = read_splits(experiment.data)
    if not splits.train:
        raise DatasetError(experiment.data.root, 'there is no image to train on')
    spec = make_spec(experiment, splits.train, splits.class_names)
    config = experiment.training
    torch.manual_seed(config.seed)
    model = build_model(spec, experiment.model)
    notes = list(splits.notes)
    if experiment.initial.backbone_weights:
        model.backbone.load_weights(experiment.initial.backbone_weights)
    dataset = TrainingSet(
        splits.train, spec, experiment.augmentation, experiment.matching, config.seed
    )
    warnings: list[str] = []
    if source := experiment.initial.checkpoint:
        initial = read_initial(source)
        note, share = begin_with(model, source, initial)
        (notes if share >= ENOUGH else warnings).append(note)
        if initial.is_unfolded:
            recalibrate_batch_norms(model, _first_batches(dataset, experiment))
    model.backbone.checkpointing = config.gradient_checkpointing
    if config.channels_last:
        model.to(memory_format=torch.channels_last)
    return Prepared(
        splits,
        spec,
        model.train(),
        dataset,
        Criterion(experiment.loss, spec),
        tuple(notes),
        tuple(warnings),
    )


def begin_with(model: MobileNetSsd, source: str, other: InitialWeights) -> tuple[str, float]:
    """
    Begin with the averaged weights of another run, as far as they fit.

    :param model: gets the weights; layers whose shapes differ stay fresh.
    :param source: path or URL of the checkpoint or the bundle.
    :param other: what it holds.
    :return: a line that says which did not fit, and whether the classes are the same; and the
        share of the weights that did fit, 0 to 1.
    :raises CheckpointError: if nothing fits.
    """
    try:
        match = load_matching_layers(model, other.weights)
    except CheckpointError as error:
        raise CheckpointError(f'{source}: {error}') from error
    fresh = match.new_layers
    words = f'; {len(fresh)} layers begin afresh, such as {fresh[0]}' if fresh else ''
    if other.spec.class_names != model.spec.class_names:
        words += f'; its classes are others: {", ".join(other.spec.class_names)}'
    if other.spec.feature_maps != model.spec.feature_maps:
        words += '; its priors are others, so boxes are learnt anew'
    words = f'{source}: {match.loaded_fraction:.0%} of the weights taken over{words}'
    return mask_secrets(words), match.loaded_fraction


def _first_batches(dataset: TrainingSet, experiment: Experiment) -> Iterator[torch.Tensor]:
    """Make a few images of the first epoch, spread over the training set."""
    size = experiment.input.train_size or experiment.input.size
    num = min(NUM_MEASURED, len(dataset))
    for place in range(num):
        _, image, _, _ = dataset[0, place * len(dataset) // num, size]
        yield torch.from_numpy(image)[None]
