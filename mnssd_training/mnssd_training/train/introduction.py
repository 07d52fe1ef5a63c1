"""A run at its beginning to the lines that a person reads before it takes hours."""

from collections.abc import Iterator

from mnssd_training.config.fingerprint import fingerprint
from mnssd_training.model.cost import estimate_cost
from mnssd_training.train.run import Found
from mnssd_training.train.sizes import input_sizes
from mnssd_training.train.state import State
import torch


def introduction(state: State, found: Found | None) -> Iterator[str]:
    """
    Say what will happen.

    :param state: the parts of the run.
    :param found: what it goes on from; None for a fresh start.
    :return: the lines.
    """
    experiment, splits, plan = state.experiment, state.prepared.splits, state.plan
    yield f'experiment {experiment.experiment.id}, fingerprint {fingerprint(experiment)}'
    yield (
        f'{len(splits.train)} images to train on, {len(splits.val)} to score on, '
        f'{len(splits.class_names)} classes: {", ".join(splits.class_names)}'
    )
    yield from (f'note: {note}' for note in state.prepared.notes)
    spec, config = state.prepared.spec, experiment.training
    part = plan.batch_size // plan.grad_accum_steps // state.fabric.world_size
    moments = {'adamw': 2, 'sgd': 1}[experiment.optimizer.name]
    cost = estimate_cost(state.network, part, experiment.input.train_size, moments)
    yield from str(cost).splitlines()
    yield f'input {_size(spec.input_size)} by {spec.resize}, {spec.num_priors} priors'
    sizes = input_sizes(plan.total, experiment)
    if sizes != [spec.input_size]:
        shown = sizes if len(sizes) < 4 else [sizes[0], sizes[-1]]
        between = ' to ' if len(sizes) >= 4 else ', '
        yield f'training input: {between.join(map(_size, shown))}'
    yield (
        f'{plan.epochs} epochs of {plan.steps_per_epoch} steps of {plan.batch_size} images on '
        f'{state.fabric.world_size} x {state.fabric.device.type}, {config.precision}'
    )
    if found:
        yield from (f'skipped: {damage}' for damage in found.damaged)
        yield f'going on from {found.name}, step {found.checkpoint.step}'
        yield from _threads_differ(state, found)


def _threads_differ(state: State, found: Found) -> Iterator[str]:
    """Say that a CPU adds up in another order than before."""
    before = (found.checkpoint.training or {}).get('num_threads')
    now = torch.get_num_threads()
    if state.fabric.device.type == 'cpu' and before not in (None, now):
        yield (
            f'note: computed with {before} threads before, now with {now}: sums differ in their '
            f'last bits, so that the weights will not be bit for bit those of a run without a '
            f'break; OMP_NUM_THREADS={before} would keep them'
        )


def _size(size: tuple[int, int]) -> str:
    """Write a size."""
    return f'{size[0]} x {size[1]}'
