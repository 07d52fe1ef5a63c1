"""Create the state of a training run, pack it into checkpoints and restore it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
import textwrap
from typing import Any
import warnings

from lightning_fabric import Fabric
from mnssd_perception.ssd import generate_priors, ModelSpec
from mnssd_training.config import Experiment, read_stored, to_stored
from mnssd_training.config.fingerprint import what_counts
from mnssd_training.data.dataset import TrainingSet
from mnssd_training.data.sources import read_splits, Splits
from mnssd_training.errors import CheckpointError, DatasetError
from mnssd_training.loss import Criterion
from mnssd_training.model import build_model, check_grids, MobileNetSsd
from mnssd_training.model.onnx_weights import recalibrate_batch_norms
from mnssd_training.priors import make_spec, resize_spec
from mnssd_training.train.batches import BatchPlan, plan_batches, read_steps, Steps
from mnssd_training.train.checkpoint import Checkpoint
from mnssd_training.train.ema import Ema
from mnssd_training.train.initial_weights import load_initial_weights, read_initial_weights
from mnssd_training.train.optimizer import make_optimizer
from mnssd_training.train.progress import Progress
from mnssd_training.train.schedule import input_size, input_sizes, lr_factor
from pydantic import ValidationError
import torch
from torch import nn

NUM_MEASURED = 64  # images that give the batch norms of a bundle their running statistics
EXPECTED_SHARE = 0.5  # of the weights that an initial checkpoint should match


@dataclass
class TrainState:
    """
    Everything that a run works on.

    :ivar network: the network itself.
    :ivar model: the network as training calls it: compiled, wrapped in DDP.
    :ivar priors_at: maps the (height, width) of an input to its priors, ``(P, 4)`` float32 cxcywh,
        on the device.
    :ivar metrics: of the last evaluation.
    :ivar notes: facts about data and weights that the user should know.
    :ivar warnings: what the user probably did not intend.
    """

    experiment: Experiment
    fabric: Fabric
    splits: Splits
    dataset: TrainingSet
    plan: BatchPlan
    spec: ModelSpec
    network: MobileNetSsd
    model: nn.Module
    ema: Ema
    criterion: Criterion
    optimizer: torch.optim.Optimizer
    priors_at: Callable[[tuple[int, int]], torch.Tensor]
    notes: list[str]
    warnings: list[str]
    progress: Progress = field(default_factory=Progress)
    metrics: dict[str, Any] = field(default_factory=dict)

    def learning_rate_at(self, step: int) -> float:
        """Compute the learning rate of a step, counted from 0."""
        return self.experiment.optimizer.learning_rate * lr_factor(
            step, self.plan.num_steps, self.plan.steps_per_epoch, self.experiment.scheduler
        )

    def read_steps(self, plan: BatchPlan | None = None, workers: int | None = None) -> Steps:
        """Read the batches of this process from the current step on."""
        plan = plan or self.plan
        return read_steps(
            self.dataset,
            plan,
            start=self.progress.step,
            rank=self.fabric.global_rank,
            world_size=self.fabric.world_size,
            workers=self.experiment.training.workers if workers is None else workers,
            device=self.fabric.device,
            size_at=lambda step: input_size(step, plan.num_steps, self.experiment),
        )

    def to_checkpoint(self, *, is_resumable: bool = True) -> Checkpoint:
        """Pack a checkpoint; it shares its tensors with the run: write it before the next step."""
        training = {
            'model': self.network.state_dict(),
            'optimizer': self.optimizer.state_dict(),
            'scaler': self.fabric.strategy.precision.state_dict(),
            'progress': self.progress.to_dict(),
            'num_samples': self.plan.num_samples,
            'num_threads': torch.get_num_threads(),
        }
        return Checkpoint(
            self.spec,
            self.experiment.model,
            to_stored(self.experiment),
            self.ema.model.state_dict(),
            training if is_resumable else None,
            self.progress.step,
            self.metrics,
        )

    def restore(self, checkpoint: Checkpoint, name: str) -> None:
        """
        Continue from a checkpoint of the same experiment.

        :param name: path or URL of the checkpoint, for errors.
        :raises CheckpointError: if it belongs to another experiment, or its state does not fit.
        """
        training = checkpoint.training
        if training is None:
            raise CheckpointError(
                f'{name}: holds weights only, nothing to resume from; '
                f'start a new run with initial.checkpoint={name}'
            )
        _check_experiment(checkpoint, name, self.experiment)
        if checkpoint.spec != self.spec:
            raise CheckpointError(
                f'{name}: its classes or priors differ from those of the dataset, which has '
                f'changed; choose another folder'
            )
        try:
            if training['num_samples'] != self.plan.num_samples:
                raise CheckpointError(
                    f'{name}: was written with {training["num_samples"]} training images, now '
                    f'there are {self.plan.num_samples}; choose another folder'
                )
            self.network.load_state_dict(training['model'])
            self.ema.model.load_state_dict(checkpoint.weights)
            self.optimizer.load_state_dict(training['optimizer'])
            self.fabric.strategy.precision.load_state_dict(training['scaler'])
            self.progress = Progress.from_dict(training['progress'])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = textwrap.shorten(str(error), 200)
            raise CheckpointError(
                f'{name}: its state does not fit this network: {reason}'
            ) from error
        self.metrics = checkpoint.metrics


def create_train_state(fabric: Fabric, experiment: Experiment) -> TrainState:
    """
    Read the data, build the network and move it to its device; the same on all ranks.

    :raises MnssdError: naming the invalid file or key.
    """
    config = experiment.training
    splits = read_splits(experiment.data)
    if not splits.train:
        raise DatasetError(experiment.data.root, 'expected at least one training image, got none')
    spec = make_spec(experiment, splits.train, splits.class_names)
    dataset = TrainingSet(
        splits.train, spec, experiment.augmentation, experiment.matching, config.seed
    )
    notes, cautions = list(splits.notes), list[str]()
    network = _build_network(experiment, spec, dataset, notes, cautions)
    plan = plan_batches(experiment, len(splits.train), fabric.world_size)
    for size in input_sizes(plan.num_steps, experiment):
        if size != spec.input_size:
            check_grids(network, resize_spec(spec, size))
    network = fabric.to_device(network)

    @cache
    def priors_at(size: tuple[int, int]) -> torch.Tensor:
        return torch.from_numpy(generate_priors(resize_spec(spec, size)).copy()).to(fabric.device)

    ema = Ema(network, config.ema_decay, config.ema_warmup)
    compiled = torch.compile(network) if config.compile else network
    with warnings.catch_warnings():  # not all versions of torch know the new name
        warnings.filterwarnings('ignore', '.*broadcast_buffers')
        model, optimizer = fabric.setup(compiled, make_optimizer(network, experiment))
    return TrainState(
        experiment=experiment,
        fabric=fabric,
        splits=splits,
        dataset=dataset,
        plan=plan,
        spec=spec,
        network=network,
        model=model,
        ema=ema,
        criterion=Criterion(experiment.loss, spec),
        optimizer=optimizer,
        priors_at=priors_at,
        notes=notes,
        warnings=cautions,
    )


def _build_network(
    experiment: Experiment,
    spec: ModelSpec,
    dataset: TrainingSet,
    notes: list[str],
    cautions: list[str],
) -> MobileNetSsd:
    """Build the network with its initial weights, on the CPU; add to the notes and cautions."""
    config = experiment.training
    torch.manual_seed(config.seed)
    network = build_model(spec, experiment.model)
    if experiment.initial.backbone_weights:
        network.backbone.load_weights(experiment.initial.backbone_weights)
    if source := experiment.initial.checkpoint:
        initial = read_initial_weights(source)
        summary, share = load_initial_weights(network, source, initial)
        (notes if share >= EXPECTED_SHARE else cautions).append(summary)
        if initial.is_unfolded:
            recalibrate_batch_norms(network, _sample_images(dataset, experiment))
    network.backbone.checkpointing = config.gradient_checkpointing
    if config.channels_last:
        network.to(memory_format=torch.channels_last)
    return network.train()


def _sample_images(dataset: TrainingSet, experiment: Experiment) -> Iterator[torch.Tensor]:
    # Images of the first epoch, spread over the training set.
    size = experiment.input.train_size or experiment.input.size
    num = min(NUM_MEASURED, len(dataset))
    for index in range(num):
        _, image, _, _ = dataset[0, index * len(dataset) // num, size]
        yield torch.from_numpy(image)[None]


def _check_experiment(checkpoint: Checkpoint, name: str, experiment: Experiment) -> None:
    """Refuse a checkpoint of another experiment."""
    try:
        stored = what_counts(read_stored(checkpoint.experiment))
    except ValidationError as error:
        reason = textwrap.shorten(str(error), 200)
        raise CheckpointError(
            f'{name}: this version of mnssd cannot read its experiment: {reason}'
        ) from error
    differences = _differences(stored, what_counts(experiment))
    if differences:
        raise CheckpointError(
            f'{name}: belongs to another experiment: {"; ".join(differences)}; '
            f'choose another folder, or start with initial.checkpoint={name}'
        )


def _differences(stored: dict[str, Any], current: dict[str, Any], prefix: str = '') -> list[str]:
    """List the keys whose values differ, with both values."""
    differences = []
    for key in sorted({*stored, *current}):
        before, now = stored.get(key), current.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            differences += _differences(before, now, f'{prefix}{key}.')
        elif before != now:
            differences.append(f'{prefix}{key} was {before}, now is {now}')
    return differences
