"""Divide the images of a run into batches, steps and processes (ADR 0009)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mnssd_training.config import Experiment
from mnssd_training.data.dataset import EpochSampler
from mnssd_training.data.sampling import Draws
from mnssd_training.errors import ConfigError


@dataclass(frozen=True)
class BatchPlan:
    """How the images of a run are divided into batches; the same for any number of processes."""

    num_samples: int
    batch_size: int  # on all devices together
    epochs: int
    grad_accum_steps: int
    seed: int
    draws: Draws | None = field(default=None, compare=False)  # None for each image once

    @property
    def steps_per_epoch(self) -> int:
        """The last, smaller batch is dropped."""
        return self.num_samples // self.batch_size

    @property
    def num_steps(self) -> int:
        """Count the steps of the run."""
        return self.epochs * self.steps_per_epoch


def plan_batches(
    experiment: Experiment, num_samples: int, world_size: int, draws: Draws | None = None
) -> BatchPlan:
    """
    Divide a training set into batches; a set smaller than a batch is one batch.

    :param draws: how often an epoch shows each image, see :func:`expected_draws`.
    """
    config = experiment.training
    shares = world_size * config.grad_accum_steps
    product = f'{world_size} processes times training.grad_accum_steps={config.grad_accum_steps}'
    if config.batch_size % shares:
        raise ConfigError(
            f'training.batch_size: expected a multiple of {shares} ({product}), '
            f'got {config.batch_size}'
        )
    batch_size = min(config.batch_size, num_samples // shares * shares)
    if not batch_size:
        raise ConfigError(
            f'training.batch_size: {num_samples} training images are too few for {product}'
        )
    return BatchPlan(
        num_samples, batch_size, config.epochs, config.grad_accum_steps, config.seed, draws
    )


def micro_batch_keys(
    plan: BatchPlan,
    start: int,
    rank: int,
    world_size: int,
    size_at: Callable[[int], tuple[int, int]],
) -> Iterator[list[tuple[int, int, tuple[int, int]]]]:
    """
    List the keys of the micro-batches of a run, ``grad_accum_steps`` for each step.

    :param start: first step.
    :param size_at: maps a step to the (height, width) of its network input.
    """
    first_epoch, first_step = divmod(start, plan.steps_per_epoch)
    for epoch in range(first_epoch, plan.epochs):
        steps_before = epoch * plan.steps_per_epoch
        shares = EpochSampler(
            plan.num_samples,
            plan.batch_size,
            epoch,
            plan.seed,
            draws=plan.draws,
            size_of=lambda index, before=steps_before: size_at(before + index),  # type: ignore[misc]
            start=first_step if epoch == first_epoch else 0,
            rank=rank,
            world=world_size,
        )
        for share in shares:
            for part in range(plan.grad_accum_steps):
                yield share[part :: plan.grad_accum_steps]
