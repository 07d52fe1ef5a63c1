"""A network to what it costs: weights, multiplications and memory."""

from collections.abc import Iterator
from contextlib import contextmanager
import copy
from dataclasses import dataclass

from mnssd_training.model.mobilenet_ssd import MobileNetSsd
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

MEBI = 2**20
"""Bytes in a MiB."""


@dataclass(frozen=True)
class Cost:
    """
    What a network costs.

    :ivar input_size: (height, width) that ``macs`` are for, pixels.
    :ivar train_size: (height, width) that a training step is for, pixels.
    :ivar batch_size: images of a training step.
    :ivar parameters: numbers that are weights.
    :ivar trainable: of them, those that are trained.
    :ivar macs: multiply-accumulates of one image, in convolutions and matrix products.
    :ivar activation_bytes: kept by a training step in float32 for its backward pass.
    :ivar state_bytes: of weights, gradients, optimizer and averaged weights, in float32.
    """

    input_size: tuple[int, int]
    train_size: tuple[int, int]
    batch_size: int
    parameters: int
    trainable: int
    macs: int
    activation_bytes: int
    state_bytes: int

    def __str__(self) -> str:
        """Write a line on the network and a line on a training step."""
        height, width = self.input_size
        return (
            f'network: {self.parameters / 1e6:.2f} M parameters '
            f'({self.trainable / 1e6:.2f} M trained), '
            f'{self.macs / 1e9:.2f} GMAC at {width} x {height}\n'
            f'training step of {self.batch_size} at {self.train_size[1]} x {self.train_size[0]}: '
            f'about {self.activation_bytes / MEBI:.0f} MiB of activations in float32, '
            f'{self.state_bytes / MEBI:.0f} MiB of weights, gradients and optimizer'
        )


def cost(
    model: MobileNetSsd,
    batch_size: int,
    train_size: tuple[int, int] | None = None,
    moments: int = 2,
) -> Cost:
    """
    Count what a network costs, without running it.

    :param model: the network; neither its weights nor its statistics are touched.
    :param batch_size: images of a training step.
    :param train_size: (height, width) of its input; None for that of the specification.
    :param moments: numbers that the optimizer keeps for each weight: 2 of AdamW, 1 of SGD.
    :return: the counts.
    """
    size = model.spec.input_size
    train_size = train_size or size
    shapes = copy.deepcopy(model).to('meta')  # shapes only: nothing is computed
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes.eval()(_photographs(1, size))
    activations = [0]
    with _counted(shapes, activations):
        shapes.train()(_photographs(1, train_size))
    parameters = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Cost(
        size,
        train_size,
        batch_size,
        parameters,
        trainable,
        counter.get_total_flops() // 2,
        activations[0] * batch_size,
        4 * (2 * parameters + (1 + moments) * trainable),
    )


def _photographs(num: int, size: tuple[int, int]) -> torch.Tensor:
    """Make images of no content."""
    return torch.empty(num, *size, 3, dtype=torch.uint8, device='meta')


@contextmanager
def _counted(model: nn.Module, total: list[int]) -> Iterator[None]:
    """Add up the bytes that are kept for a backward pass, weights aside, each storage once."""
    # Kept alive while counting, so that no two of them are given the same address.
    own = [tensor.untyped_storage() for tensor in (*model.parameters(), *model.buffers())]
    seen = {storage._cdata: storage for storage in own}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in seen:
            seen[storage._cdata] = storage
            total[0] += storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        yield
