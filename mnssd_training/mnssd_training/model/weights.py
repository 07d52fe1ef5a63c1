"""Load the weights of a similar network, for fine-tuning."""

from collections.abc import Mapping
from dataclasses import dataclass

from mnssd_training.errors import CheckpointError
import torch
from torch import nn


@dataclass(frozen=True)
class LoadResult:
    """
    Outcome of loading a state dict in part.

    :ivar new_layers: names of the layers that keep their initial weights.
    :ivar loaded_fraction: of the numbers in the state dict of the network, 0 to 1.
    """

    new_layers: tuple[str, ...]
    loaded_fraction: float


def load_matching_layers(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> LoadResult:
    """
    Load the layers whose tensors all have the same shape in a state dict, in place.

    A layer is loaded entirely or not at all: where classes or priors differ, so does the
    prediction layer, and its weights and biases keep their initial values together.

    :raises CheckpointError: if no layer fits.
    """
    loaded: dict[str, torch.Tensor] = {}
    new_layers = []
    for name, layer in model.named_modules():
        tensors = {
            f'{name}.{key}' if name else key: value
            for key, value in layer.state_dict(keep_vars=True).items()
            if '.' not in key
        }
        if all(_has_shape(weights.get(key), value.shape) for key, value in tensors.items()):
            loaded |= {key: weights[key] for key in tensors}
        else:
            new_layers.append(name)
    if not loaded:
        raise CheckpointError('its network has no layer in common with this one')
    model.load_state_dict(loaded, strict=False)
    total = sum(value.numel() for value in model.state_dict().values())
    num_loaded = sum(value.numel() for value in loaded.values())
    return LoadResult(tuple(new_layers), num_loaded / total)


def _has_shape(value: object, shape: torch.Size) -> bool:
    return isinstance(value, torch.Tensor) and value.shape == shape
