"""Create the state of a training run, pack it into checkpoints and restore it."""

from collections.abc import Generator
from functools import partial
import textwrap
from typing import Any
import warnings

from lightning_fabric import Fabric
from mnssd_perception.errors import MnssdError
from mnssd_perception.ssd import generate_priors
from mnssd_perception.text import mask_secrets
from mnssd_training.config import Experiment, to_stored
from mnssd_training.config.fingerprint import relevant_keys
from mnssd_training.data.copy_paste import make_object_pool
from mnssd_training.data.dataset import Batch, collate, TrainingSet
from mnssd_training.data.hard_negatives import attach_hard_negatives
from mnssd_training.data.image_cache import cache_images
from mnssd_training.data.sampling import describe_sampling, expected_draws
from mnssd_training.data.sources import read_splits
from mnssd_training.errors import CheckpointError, DatasetError
from mnssd_training.loss import Criterion
from mnssd_training.model import build_model, check_grids, MobileNetSsd
from mnssd_training.model.fake_quantization import share_bounds
from mnssd_training.model.norm import recalibrate_batch_norms
from mnssd_training.model.onnx_weights import unfold_batch_norms
from mnssd_training.priors import make_spec, resize_spec
from mnssd_training.train.batches import BatchPlan, micro_batch_keys, plan_batches
from mnssd_training.train.checkpoint import Checkpoint, read_experiment
from mnssd_training.train.distillation import Distillation
from mnssd_training.train.ema import Ema
from mnssd_training.train.initial_weights import load_initial_weights, read_initial_weights
from mnssd_training.train.interrupt import shield_worker
from mnssd_training.train.optimizer import make_optimizer
from mnssd_training.train.progress import Progress
from mnssd_training.train.qat import freeze_norms, prepare_qat, read_ranges, restore_ranges
from mnssd_training.train.recalibration import sample_batches
from mnssd_training.train.schedule import input_size, input_sizes, lr_factor
import torch
from torch import nn
from torch.utils.data import DataLoader

NUM_MEASURED = 64  # images that give the batch norms of a bundle their running statistics
EXPECTED_SHARE = 0.5  # of the weights that an initial checkpoint should match

Steps = Generator[list[Batch] | MnssdError, None, None]


class TrainState:
    """
    Everything that a run works on; the same on all ranks.

    ``model`` is ``network`` as training calls it, compiled and wrapped in DDP. ``notes`` are facts
    about data and weights that the user should know, ``warnings`` what is probably unintended.
    """

    def __init__(self, fabric: Fabric, experiment: Experiment) -> None:
        config = experiment.training
        self.fabric, self.experiment = fabric, experiment
        self.progress, self.metrics = Progress(), dict[str, Any]()
        self.splits = read_splits(experiment.data)
        if not self.splits.train:
            raise DatasetError(
                experiment.data.root, 'expected at least one training image, got none'
            )
        train, notes = attach_hard_negatives(self.splits.train, experiment.data.hard_negatives)
        self.notes, self.warnings = [*self.splits.notes, *notes], list[str]()
        self.spec = make_spec(experiment, self.splits.train, self.splits.class_names)
        augmentation, matching = experiment.augmentation, experiment.matching
        sampling = experiment.data.sampling
        if config.image_cache_gib:
            train, note = cache_images(train, config.image_cache_gib)
            self.notes.append(note)
        pool = make_object_pool(train, augmentation, sampling.groups)
        self.dataset = TrainingSet(train, self.spec, augmentation, matching, config.seed, pool)
        network = self._build_network()
        self.notes += describe_sampling(train, self.splits.class_names, sampling)
        draws = expected_draws(train, sampling)
        self.plan = plan_batches(experiment, len(train), fabric.world_size, draws)
        sizes = input_sizes(self.plan.num_steps, experiment)
        for size in sizes:
            if size != self.spec.input_size:
                check_grids(network, resize_spec(self.spec, size))
        self.network: MobileNetSsd = fabric.to_device(network)
        self.ema = Ema(self.network, config.ema_decay, config.ema_warmup)
        share_bounds(self.network, self.ema.model)
        self.criterion = Criterion(experiment.loss, self.spec)
        self.distillation: Distillation | None = None
        trained: nn.Module = self.network
        if experiment.distillation.teachers:
            self.distillation = Distillation(experiment, self.network, sizes, fabric)
            trained = self.distillation.model
            sources = zip(experiment.distillation.teachers, self.distillation.digests)
            self.notes += [f'teacher {mask_secrets(path)}, {digest}' for path, digest in sources]
        compiled = torch.compile(trained) if config.compile else trained
        self.model: nn.Module
        self.optimizer: torch.optim.Optimizer
        with warnings.catch_warnings():  # not all versions of torch know the new name
            warnings.filterwarnings('ignore', '.*broadcast_buffers')
            self.model, self.optimizer = fabric.setup(
                compiled, make_optimizer(self.network, experiment, self._adapters.parameters())
            )
        self._priors: dict[tuple[int, int], torch.Tensor] = {}

    def _build_network(self) -> MobileNetSsd:
        """Build the network with its initial weights, on the CPU."""
        experiment = self.experiment
        size = experiment.input.train_size or experiment.input.size
        torch.manual_seed(experiment.training.seed)
        network = build_model(self.spec, experiment.model)
        if experiment.initial.backbone_weights:
            network.backbone.load_weights(experiment.initial.backbone_weights)
        if source := experiment.initial.checkpoint:
            initial = read_initial_weights(source)
            summary, share = load_initial_weights(network, source, initial)
            (self.notes if share >= EXPECTED_SHARE else self.warnings).append(summary)
            if initial.is_unfolded:
                unfold_batch_norms(network, sample_batches(self.dataset, size, NUM_MEASURED, 1))
        if experiment.initial.recalibrate_norm:
            batches = sample_batches(self.dataset, size)
            recalibrate_batch_norms(network, batches, network.backbone)
        prepare_qat(network, experiment)
        network.backbone.checkpointing = experiment.training.gradient_checkpointing
        if experiment.training.channels_last:
            network.to(memory_format=torch.channels_last)
        return network.train()

    @property
    def _adapters(self) -> nn.Module:
        return self.distillation.adapters if self.distillation else nn.Identity()

    @property
    def _digests(self) -> tuple[str, ...]:
        return self.distillation.digests if self.distillation else ()

    def begin_epoch(self) -> None:
        """Switch the network to training mode."""
        self.model.train()
        freeze_norms(self.network, self.experiment, self.progress.epoch)

    def priors_at(self, size: tuple[int, int]) -> torch.Tensor:
        """Return the priors of a (height, width), ``(P, 4)`` float32 cxcywh, on the device."""
        if size not in self._priors:
            priors = generate_priors(resize_spec(self.spec, size))
            self._priors[size] = torch.from_numpy(priors.copy()).to(self.fabric.device)
        return self._priors[size]

    def learning_rate_at(self, step: int) -> float:
        """Compute the learning rate of a step, counted from 0."""
        return self.experiment.optimizer.learning_rate * lr_factor(
            step, self.plan.num_steps, self.plan.steps_per_epoch, self.experiment.scheduler
        )

    def read_steps(self, plan: BatchPlan | None = None, workers: int | None = None) -> Steps:
        """Read the micro-batches of this process from the current step on, or a worker's error."""
        plan, fabric, start = plan or self.plan, self.fabric, self.progress.step
        workers = self.experiment.training.workers if workers is None else workers
        size_at = partial(input_size, num_steps=plan.num_steps, experiment=self.experiment)
        keys = micro_batch_keys(plan, start, fabric.global_rank, fabric.world_size, size_at)
        with warnings.catch_warnings():  # the user chose the number of workers
            warnings.filterwarnings('ignore', 'This DataLoader will create')
            loader = DataLoader(
                self.dataset,
                batch_sampler=keys,
                num_workers=workers,
                collate_fn=collate,
                pin_memory=fabric.device.type == 'cuda',
                prefetch_factor=max(2, 2 * plan.grad_accum_steps) if workers else None,
                worker_init_fn=shield_worker,
            )
            iterator = iter(loader)
        try:
            for _ in range(plan.num_steps - start):
                batches = [next(iterator) for _ in range(plan.grad_accum_steps)]
                errors = [batch for batch in batches if isinstance(batch, MnssdError)]
                yield errors[0] if errors else batches
        finally:
            del iterator  # ends the workers, also when an error keeps this frame alive

    def to_checkpoint(self, *, is_resumable: bool = True) -> Checkpoint:
        """Pack a checkpoint; it shares its tensors with the run: write it before the next step."""
        training = {
            'model': self.network.state_dict(),
            'optimizer': self.optimizer.state_dict(),
            'scaler': self.fabric.strategy.precision.state_dict(),
            'progress': self.progress.to_dict(),
            'num_samples': self.plan.num_samples,
            'num_threads': torch.get_num_threads(),
            'ranges': read_ranges(self.network),
            'adapters': self._adapters.state_dict(),
        }
        return Checkpoint(
            spec=self.spec,
            model_config=self.experiment.model,
            experiment=to_stored(self.experiment),
            weights=self.ema.model.state_dict(),
            training=training if is_resumable else None,
            step=self.progress.step,
            metrics=self.metrics,
            sources={'teachers': self._digests} if self._digests else {},
        )

    def restore(self, checkpoint: Checkpoint, name: str) -> None:
        """Continue from a checkpoint of the same experiment; errors name it by ``name``."""
        training = checkpoint.training
        if training is None:
            raise CheckpointError(
                f'{name}: holds weights only, nothing to resume from; '
                f'start a new run with initial.checkpoint={name}'
            )
        stored = relevant_keys(read_experiment(checkpoint, name))
        if differences := _differences(stored, relevant_keys(self.experiment)):
            raise CheckpointError(
                f'{name}: belongs to another experiment: {"; ".join(differences)}; '
                f'choose another folder, or start with initial.checkpoint={name}'
            )
        if checkpoint.spec != self.spec:
            raise CheckpointError(
                f'{name}: its classes or priors differ from those of the dataset, which has '
                f'changed; choose another folder'
            )
        if checkpoint.sources.get('teachers', ()) != self._digests:
            raise CheckpointError(
                f'{name}: learns from the teachers '
                f'{", ".join(checkpoint.sources.get("teachers", ()))}, now they are '
                f'{", ".join(self._digests)}; choose another folder'
            )
        try:
            if training['num_samples'] != self.plan.num_samples:
                raise CheckpointError(
                    f'{name}: was written with {training["num_samples"]} training images, now '
                    f'there are {self.plan.num_samples}; choose another folder'
                )
            self.network.load_state_dict(training['model'])
            self.ema.model.load_state_dict(checkpoint.weights)
            restore_ranges(self.network, training.get('ranges', {}))  # none before QAT existed
            self._adapters.load_state_dict(training.get('adapters', {}))
            self.optimizer.load_state_dict(training['optimizer'])
            self.fabric.strategy.precision.load_state_dict(training['scaler'])
            self.progress = Progress.from_dict(training['progress'])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = textwrap.shorten(str(error), 200)
            raise CheckpointError(
                f'{name}: its state does not fit this network: {reason}'
            ) from error
        self.metrics = checkpoint.metrics


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
