"""Compute the gradient of a training step; it does not depend on how the batch is divided."""

from collections.abc import Sequence
import math

from lightning_fabric import Fabric
from mnssd_perception.errors import MnssdError
from mnssd_training.data.dataset import Batch
from mnssd_training.errors import TrainingError
from mnssd_training.loss import align_tasks, count_positives, TargetTensors
from mnssd_training.train.distributed import all_gather_objects, raise_on_all_ranks
from mnssd_training.train.state import Steps, TrainState
import torch


def next_batch(fabric: Fabric, steps: Steps) -> list[Batch]:
    """Read the micro-batches of the next step; an unreadable image raises on all ranks."""
    batches = next(steps)
    raise_on_all_ranks(fabric, batches if isinstance(batches, MnssdError) else None)
    return [] if isinstance(batches, MnssdError) else batches


def forward_backward(state: TrainState, batches: Sequence[Batch]) -> torch.Tensor:
    """
    Add the gradient of a step to the gradients of the weights.

    The loss is divided by the positives of the whole batch, over all micro-batches and processes,
    or by the sum of their qualities (TAL), so the gradients of the parts add up to that of the
    batch. DDP averages over the processes where a sum is due; the factor world size makes up for
    it.

    :return: ``(3,)`` float32 on the device: loss, class loss and box loss of this process; their
        sums over the processes are those of the batch.
    """
    fabric = state.fabric
    moved = [batch.to(fabric.device) for batch in batches]
    positives = torch.stack([count_positives(batch.classes) for batch in moved]).sum()
    positives = fabric.all_reduce(positives, reduce_op='sum')
    sums = torch.zeros(3, device=fabric.device)
    for index, batch in enumerate(moved):
        with fabric.no_backward_sync(state.model, enabled=index < len(moved) - 1):
            outputs = state.model(batch.images)
            logits, offsets = outputs[:2]
            targets = _assign(state, batch, logits, offsets)
            if targets.quality is not None:  # as in the code of TOOD; there is one micro-batch
                positives = fabric.all_reduce(targets.quality.sum(), reduce_op='sum')
            losses = state.criterion(
                logits,
                offsets,
                targets.classes,
                targets.offsets,
                state.priors_at(batch.size),
                batch.size,
                positives,
                targets.quality,
            )
            total = losses.total
            if state.distillation:
                total = total + state.distillation.loss(
                    batch.images, outputs, positives, state.plan.batch_size
                )
            fabric.backward(total * fabric.world_size)
        sums += torch.stack((total, losses.classes, losses.boxes)).detach()
    return sums


def _assign(
    state: TrainState, batch: Batch, logits: torch.Tensor, offsets: torch.Tensor
) -> TargetTensors:
    """Return the targets that the loader made, or assign the objects by the predictions (TAL)."""
    targets = TargetTensors(batch.classes, batch.offsets)
    if batch.objects is None:
        return targets
    return align_tasks(
        logits,
        offsets,
        targets,
        batch.objects.boxes,
        batch.objects.labels,
        batch.objects.candidates,
        state.priors_at(batch.size),
        state.spec.variances,
        state.experiment.matching,
    )


def clip_gradients(state: TrainState) -> torch.Tensor:
    """Clip the gradient norm as configured; return the norm before, a scalar."""
    max_norm = state.experiment.optimizer.clip_grad_norm or math.inf
    return state.fabric.clip_gradients(
        state.model, state.optimizer, max_norm=max_norm, error_if_nonfinite=False
    )


def check_finite(state: TrainState, loss: float, norm: float, batches: Sequence[Batch]) -> None:
    """Refuse a step that would ruin the weights, naming its images on all ranks."""
    scale = loss_scale(state.fabric).get('loss_scale', 0.0)
    # A gradient in fp16 overflows now and then, and the scaler skips that step.
    if math.isfinite(loss) and (scale >= 1.0 or math.isfinite(norm)):
        return
    names = [name for batch in batches for name in batch.names]
    names = [name for share in all_gather_objects(state.fabric, names) for name in share]
    raise TrainingError(
        f'expected a finite loss and gradient, got {loss} and {norm} in step '
        f'{state.progress.step}; the batch was {", ".join(names)}'
    )


def loss_scale(fabric: Fabric) -> dict[str, float]:
    """
    Read the scale of the loss in fp16 as ``loss_scale``; empty for other precisions.

    It starts at 65536, and each overflow halves it: below 1, the scale is not to blame.
    """
    scaler = getattr(fabric.strategy.precision, 'scaler', None)
    return {} if scaler is None else {'loss_scale': float(scaler.get_scale())}
