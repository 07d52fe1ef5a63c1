"""The images of a step to a gradient that does not depend on how they were dealt out."""

from collections.abc import Callable, Sequence
import math

from lightning_fabric import Fabric
from mnssd_perception.errors import MnssdError
from mnssd_perception.ssd import generate_priors, ModelSpec
from mnssd_training.data.dataset import Batch
from mnssd_training.errors import TrainingError
from mnssd_training.loss import count_positives, Criterion
from mnssd_training.priors import resize_spec
from mnssd_training.train.batches import Steps
from mnssd_training.train.devices import raise_on_all_ranks
import torch
from torch import nn

Priors = Callable[[tuple[int, int]], torch.Tensor]


def take(fabric: Fabric, steps: Steps) -> list[Batch]:
    """
    Take the images of the next step.

    :param fabric: the processes; all come here.
    :param steps: what is read.
    :return: the parts of this process's share.
    :raises MnssdError: in all processes, if an image cannot be read in one.
    """
    parts = next(steps)
    error = parts if isinstance(parts, MnssdError) else None
    raise_on_all_ranks(fabric, error)
    return [] if isinstance(parts, MnssdError) else parts


def backward(
    fabric: Fabric,
    model: nn.Module,
    criterion: Criterion,
    parts: Sequence[Batch],
    priors: Priors,
) -> torch.Tensor:
    """
    Add the gradient of a step to the weights' gradients: forward, loss, backward.

    The loss is that for each positive of the whole batch, over all parts and all processes. So the
    parts' gradients add up to that of the batch; DDP takes the mean over the processes where the
    sum is due, and the world size makes up for it.

    :param fabric: the devices.
    :param model: as Fabric has set it up.
    :param criterion: the loss.
    :param parts: this process's share of the batch, in host memory.
    :param priors: size of an input to its priors, ``(P, 4)`` on the device.
    :return: ``(3,)`` float32 on the device: loss, class loss and box loss of this process; the
        sum over the processes is that of the batch.
    """
    moved = [part.to(fabric.device) for part in parts]
    positives = torch.stack([count_positives(part.classes) for part in moved]).sum()
    positives = fabric.all_reduce(positives, reduce_op='sum')
    sums = torch.zeros(3, device=fabric.device)
    for index, part in enumerate(moved):
        with fabric.no_backward_sync(model, enabled=index < len(moved) - 1):
            logits, offsets = model(part.images)
            losses = criterion(
                logits,
                offsets,
                part.classes,
                part.offsets,
                priors(part.size),
                part.size,
                positives,
            )
            fabric.backward(losses.total * fabric.world_size)
        sums += torch.stack((losses.total, losses.classes, losses.boxes)).detach()
    return sums


def check_finite(
    fabric: Fabric, loss: float, norm: float, step: int, parts: Sequence[Batch]
) -> None:
    """
    Refuse a step that would spoil the weights.

    :param fabric: the processes; all come here with the same numbers.
    :param loss: of the batch.
    :param norm: of its gradient; fp16 overflows now and then, and its scaler leaves the step out.
    :param step: counted from 0.
    :param parts: this process's share of the batch.
    :raises TrainingError: naming the images, in all processes.
    """
    scale = loss_scale(fabric).get('loss_scale', 0.0)
    if math.isfinite(loss) and (scale >= 1.0 or math.isfinite(norm)):
        return
    names = [name for part in parts for name in part.names]
    if fabric.world_size > 1:
        shares: list[list[str]] = [[] for _ in range(fabric.world_size)]
        torch.distributed.all_gather_object(shares, names)
        names = [name for share in shares for name in share]
    raise TrainingError(
        f'the loss is {loss} and its gradient {norm} in step {step}; '
        f'the batch was {", ".join(names)}'
    )


def loss_scale(fabric: Fabric) -> dict[str, float]:
    """
    Tell what losses are multiplied by, so that small gradients do not vanish in fp16.

    :param fabric: the devices.
    :return: ``loss_scale``; empty without fp16. From 65536 it is halved by each overflow: below 1,
        it is not the scale that is wrong.
    """
    scaler = getattr(fabric.strategy.precision, 'scaler', None)
    return {} if scaler is None else {'loss_scale': float(scaler.get_scale())}


def device_priors(spec: ModelSpec, device: torch.device) -> Priors:
    """
    Keep the priors of all input sizes on a device.

    :param spec: the model.
    :param device: where to.
    :return: (height, width) to ``(P, 4)`` float32 cxcywh, fractions of that input.
    """
    known: dict[tuple[int, int], torch.Tensor] = {}

    def at(size: tuple[int, int]) -> torch.Tensor:
        if size not in known:
            priors = generate_priors(resize_spec(spec, size))
            known[size] = torch.from_numpy(priors.copy()).to(device)
        return known[size]

    return at
