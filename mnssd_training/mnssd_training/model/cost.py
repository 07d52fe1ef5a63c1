"""Estimate the cost of a network: parameters, multiply-accumulates and memory."""

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


@dataclass(frozen=True)
class ModelCost:
    """
    What inference and training cost.

    :ivar input_size: (height, width) for ``macs``, pixels.
    :ivar train_size: (height, width) of a training step, pixels.
    :ivar batch_size: of a training step.
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
        """Describe the network and a training step, one line each."""
        height, width = self.input_size
        return (
            f'network: {self.parameters / 1e6:.2f} M parameters '
            f'({self.trainable / 1e6:.2f} M trained), '
            f'{self.macs / 1e9:.2f} GMAC at {width} x {height}\n'
            f'training step of {self.batch_size} at {self.train_size[1]} x {self.train_size[0]}: '
            f'about {self.activation_bytes / MEBI:.0f} MiB of activations in float32, '
            f'{self.state_bytes / MEBI:.0f} MiB of weights, gradients and optimizer'
        )


def estimate_cost(
    model: MobileNetSsd,
    batch_size: int,
    train_size: tuple[int, int] | None = None,
    num_moments: int = 2,
) -> ModelCost:
    """
    Count the cost of a network without running it or changing its weights and statistics.

    :param batch_size: of a training step.
    :param train_size: (height, width) of a training step; None for the input size of the model.
    :param num_moments: numbers that the optimizer keeps per weight: 2 for AdamW, 1 for SGD.
    """
    size = model.spec.input_size
    train_size = train_size or size
    meta_model = copy.deepcopy(model).to('meta')  # shapes only: nothing is computed
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        meta_model.eval()(_meta_image(size))
    activation_bytes = [0]
    with _count_saved_bytes(meta_model, activation_bytes):
        meta_model.train()(_meta_image(train_size))
    parameters = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return ModelCost(
        size,
        train_size,
        batch_size,
        parameters,
        trainable,
        counter.get_total_flops() // 2,
        activation_bytes[0] * batch_size,
        4 * (2 * parameters + (1 + num_moments) * trainable),
    )


def _meta_image(size: tuple[int, int]) -> torch.Tensor:
    return torch.empty(1, *size, 3, dtype=torch.uint8, device='meta')


@contextmanager
def _count_saved_bytes(model: nn.Module, total: list[int]) -> Iterator[None]:
    """Sum the bytes kept for a backward pass, except weights, each storage once."""
    # Kept alive while counting, so that no two of them are given the same address.
    weights = [tensor.untyped_storage() for tensor in (*model.parameters(), *model.buffers())]
    counted = {storage._cdata: storage for storage in weights}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in counted:
            counted[storage._cdata] = storage
            total[0] += storage.nbytes()
        return tensor

    with saved_tensors_hooks(count, lambda tensor: tensor):
        yield
