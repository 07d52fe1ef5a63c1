"""Summarise a run before it starts, and try its first batch."""

from collections.abc import Iterator
from contextlib import closing

from mnssd_training.config import Experiment
from mnssd_training.config.fingerprint import fingerprint
from mnssd_training.model.cost import estimate_cost
from mnssd_training.train.distributed import make_fabric
from mnssd_training.train.run_folder import ResumePoint
from mnssd_training.train.schedule import input_sizes
from mnssd_training.train.state import TrainState
from mnssd_training.train.step import forward_backward, next_batch
import torch


def run_summary(state: TrainState, resume_point: ResumePoint | None) -> Iterator[str]:
    """Summarise data, network, batches and devices of a run, a line each."""
    experiment, splits, plan, spec = state.experiment, state.splits, state.plan, state.spec
    world_size, device = state.fabric.world_size, state.fabric.device.type
    yield f'experiment {experiment.experiment.id}, fingerprint {fingerprint(experiment)}'
    yield (
        f'{len(splits.train)} training images, {len(splits.val)} validation images, '
        f'{len(splits.class_names)} classes: {", ".join(splits.class_names)}'
    )
    yield from (f'note: {note}' for note in state.notes)
    micro_batch = plan.batch_size // plan.grad_accum_steps // world_size
    moments = {'adamw': 2, 'sgd': 1}[experiment.optimizer.name]
    train_size = experiment.input.train_size
    yield from str(estimate_cost(state.network, micro_batch, train_size, moments)).splitlines()
    yield f'input {_format_size(spec.input_size)} by {spec.resize}, {spec.num_priors} priors'
    sizes = input_sizes(plan.num_steps, experiment)
    if len(sizes) > 3:
        yield f'training input: {_format_size(sizes[0])} to {_format_size(sizes[-1])}'
    elif sizes != [spec.input_size]:
        yield f'training input: {", ".join(map(_format_size, sizes))}'
    yield (
        f'{plan.epochs} epochs of {plan.steps_per_epoch} steps of {plan.batch_size} images on '
        f'{world_size} x {device}, {experiment.training.precision}'
    )
    if not resume_point:
        return
    yield from (f'skipped: {damage}' for damage in resume_point.damaged)
    yield f'resuming from {resume_point.name}, step {resume_point.checkpoint.step}'
    before = (resume_point.checkpoint.training or {}).get('num_threads')
    now = torch.get_num_threads()
    if device == 'cpu' and before not in (None, now):
        yield (
            f'note: the checkpoint was computed with {before} threads, now there are {now}: sums '
            f'differ in their last bits, so the weights will not be bit-identical to those of an '
            f'uninterrupted run; OMP_NUM_THREADS={before} would keep them so'
        )


def dry_run(experiment: Experiment) -> Iterator[str]:
    """Create the state of a run, and compute its first gradient; yield summary and loss."""
    fabric = make_fabric(experiment.training)
    state = TrainState(fabric, experiment)
    yield from run_summary(state, None)
    with closing(state.read_steps(workers=0)) as steps:
        batches = next_batch(fabric, steps)
    losses = forward_backward(state, batches)
    total, classes, boxes = fabric.all_reduce(losses, reduce_op='sum').tolist()
    positives = sum(int((batch.classes > 0).sum()) for batch in batches)
    assigned = f'{positives} positive priors'
    if experiment.matching.method == 'tal':  # the step assigned them
        objects = [batch.objects for batch in batches if batch.objects is not None]
        assigned = f'{sum(int((o.labels >= 0).sum()) for o in objects)} objects'
    yield (
        f'first batch: {sum(len(batch.names) for batch in batches)} images, {assigned}, '
        f'loss {total:.4f} (classes {classes:.4f}, boxes {boxes:.4f})'
    )


def _format_size(size_hw: tuple[int, int]) -> str:
    return f'{size_hw[0]} x {size_hw[1]}'
