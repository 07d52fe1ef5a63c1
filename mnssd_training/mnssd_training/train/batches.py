"""A run to its batches: the share of one process, part by part, from any step on."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
import warnings

from mnssd_perception.errors import MnssdError
from mnssd_training.config import Experiment
from mnssd_training.data.dataset import Batch, collate, EpochSampler, TrainingSet
from mnssd_training.errors import ConfigError
from mnssd_training.train.interrupt import shield_worker
import torch
from torch.utils.data import DataLoader, Sampler

Key = tuple[int, int, tuple[int, int]]
Steps = Generator[list[Batch] | MnssdError, None, None]


@dataclass(frozen=True)
class Plan:
    """
    How the images of a run are dealt out; the same for any number of processes.

    :ivar num_samples: of the training set.
    :ivar batch_size: images a step, on all devices together.
    :ivar epochs: passes over the training set.
    :ivar grad_accum_steps: parts that a process sees its share of a step in.
    :ivar seed: of the run.
    """

    num_samples: int
    batch_size: int
    epochs: int
    grad_accum_steps: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Count the steps of an epoch; the last, smaller batch is left out."""
        return self.num_samples // self.batch_size

    @property
    def total(self) -> int:
        """Count the steps of the run."""
        return self.epochs * self.steps_per_epoch


def plan(experiment: Experiment, num_samples: int, world: int) -> Plan:
    """
    Plan a run.

    :param experiment: with ``training``.
    :param num_samples: of the training set.
    :param world: number of processes.
    :return: the plan; a set smaller than a batch is one batch.
    :raises ConfigError: if a batch cannot be dealt out evenly.
    """
    config = experiment.training
    shares = world * config.grad_accum_steps
    words = f'{world} processes times training.grad_accum_steps={config.grad_accum_steps}'
    if config.batch_size % shares:
        raise ConfigError(
            f'training.batch_size: expected a multiple of {shares} ({words}), '
            f'got {config.batch_size}'
        )
    batch_size = min(config.batch_size, num_samples // shares * shares)
    if not batch_size:
        raise ConfigError(
            f'training.batch_size: {num_samples} training images are too few for {words}'
        )
    return Plan(num_samples, batch_size, config.epochs, config.grad_accum_steps, config.seed)


class RunSampler(Sampler[list[Key]]):
    """
    The parts of all steps of a run, so that the loader's workers live as long as the run.

    :param plan: of the run.
    :param start: first step.
    :param rank: of this process.
    :param world: number of processes.
    :param size_of: step of the run to (height, width) of its network input.
    """

    def __init__(
        self,
        plan: Plan,
        start: int,
        rank: int,
        world: int,
        size_of: Callable[[int], tuple[int, int]],
    ) -> None:
        self._plan, self._start = plan, start
        self._rank, self._world = rank, world
        self._size_of = size_of

    def __len__(self) -> int:
        """Count the parts left."""
        return (self._plan.total - self._start) * self._plan.grad_accum_steps

    def __iter__(self) -> Iterator[list[Key]]:
        """Give the keys of each part."""
        plan = self._plan
        first, done = divmod(self._start, plan.steps_per_epoch)
        for epoch in range(first, plan.epochs):
            before = epoch * plan.steps_per_epoch
            shares = EpochSampler(
                plan.num_samples,
                plan.batch_size,
                epoch,
                plan.seed,
                size_of=lambda index, before=before: self._size_of(before + index),  # type: ignore[misc]
                start=done if epoch == first else 0,
                rank=self._rank,
                world=self._world,
            )
            for share in shares:
                for part in range(plan.grad_accum_steps):
                    yield share[part :: plan.grad_accum_steps]


def read_steps(
    dataset: TrainingSet,
    plan: Plan,
    *,
    start: int,
    rank: int,
    world: int,
    workers: int,
    device: torch.device,
    size_of: Callable[[int], tuple[int, int]],
) -> Steps:
    """
    Read the batches of a run, some steps ahead.

    :param dataset: makes the items.
    :param plan: of the run.
    :param start: first step.
    :param rank: of this process.
    :param world: number of processes.
    :param workers: processes that load; 0 for none.
    :param device: where the batches will go; they come in memory that it can read by itself.
    :param size_of: step of the run to (height, width) of its network input.
    :return: the parts of each step, still in host memory, or the error that a worker met.
    """
    with warnings.catch_warnings():  # how many cores there are, the user knows
        warnings.filterwarnings('ignore', 'This DataLoader will create')
        loader = DataLoader(
            dataset,
            batch_sampler=RunSampler(plan, start, rank, world, size_of),
            num_workers=workers,
            collate_fn=collate,
            pin_memory=device.type == 'cuda',
            prefetch_factor=max(2, 2 * plan.grad_accum_steps) if workers else None,
            worker_init_fn=shield_worker,
        )
        iterator = iter(loader)
    try:
        for _ in range(plan.total - start):
            parts = [next(iterator) for _ in range(plan.grad_accum_steps)]
            wrong = [part for part in parts if isinstance(part, MnssdError)]
            yield wrong[0] if wrong else parts
    finally:
        del iterator  # ends the workers, also when an error keeps this frame alive
