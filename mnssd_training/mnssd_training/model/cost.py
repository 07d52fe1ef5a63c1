"""Estimate the cost of a network: parameters, multiply-accumulates and memory."""

import copy
from dataclasses import dataclass

from mnssd_training.model.mobilenet_ssd import MobileNetSsd
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

MEBI = 2**20


@dataclass(frozen=True)
class ModelCost:
    """What inference and training cost; sizes are (height, width), bytes those of float32."""

    input_size: tuple[int, int]
    train_size: tuple[int, int]
    batch_size: int  # of a training step
    parameters: int
    trainable: int
    macs: int  # multiply-accumulates of one image, in convolutions and matrix products
    activation_bytes: int  # kept by a training step for its backward pass
    state_bytes: int  # of weights, gradients, optimizer and averaged weights

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

    :param train_size: (height, width) of a training step; None for the input size of the model.
    :param num_moments: numbers that the optimizer keeps per weight: 2 for AdamW, 1 for SGD.
    """
    size = model.spec.input_size
    train_size = train_size or size
    meta_model = copy.deepcopy(model).to('meta')  # shapes only: nothing is computed
    image, train_image = (
        torch.empty(1, *hw, 3, dtype=torch.uint8, device='meta') for hw in (size, train_size)
    )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        meta_model.eval()(image)
    # Kept alive while counting, so that no two of them are given the same address.
    tensors = (*meta_model.parameters(), *meta_model.buffers())
    weights = {storage._cdata: storage for storage in (x.untyped_storage() for x in tensors)}
    saved: dict[int, torch.UntypedStorage] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            saved[storage._cdata] = storage
        return tensor

    with saved_tensors_hooks(save, lambda tensor: tensor):
        meta_model.train()(train_image)
    parameters = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return ModelCost(
        size,
        train_size,
        batch_size,
        parameters,
        trainable,
        counter.get_total_flops() // 2,
        sum(storage.nbytes() for storage in saved.values()) * batch_size,
        4 * (2 * parameters + (1 + num_moments) * trainable),
    )
