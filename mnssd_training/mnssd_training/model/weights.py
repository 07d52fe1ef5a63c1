"""Weights of a like network to the beginning of another."""

from collections.abc import Mapping
from dataclasses import dataclass

from mnssd_training.errors import CheckpointError
import torch
from torch import nn


@dataclass(frozen=True)
class Match:
    """
    What a network has in common with another.

    :ivar fresh: names of the layers that begin afresh.
    :ivar share: of the numbers in the state of the network that were taken over, 0 to 1.
    """

    fresh: tuple[str, ...]
    share: float


def load_matching(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> Match:
    """
    Take over the layers that both networks have in the same shape.

    A layer is taken whole or not at all: where classes or priors differ, so does the prediction
    layer, and its weights and biases begin afresh together.

    :param model: the network to fine-tune, in place.
    :param weights: the state dict of another.
    :return: what was taken over.
    :raises CheckpointError: if no layer fits.
    """
    taken: dict[str, torch.Tensor] = {}
    fresh = []
    for name, layer in model.named_modules():
        own = {
            f'{name}.{key}' if name else key: value
            for key, value in layer.state_dict(keep_vars=True).items()
            if '.' not in key
        }
        if all(_fits(value, weights.get(key)) for key, value in own.items()):
            taken |= {key: weights[key] for key in own}
        else:
            fresh.append(name)
    if not taken:
        raise CheckpointError('its network has no layer in common with this one')
    model.load_state_dict(taken, strict=False)
    total = sum(value.numel() for value in model.state_dict().values())
    share = sum(value.numel() for value in taken.values()) / total
    return Match(tuple(fresh), share)


def _fits(own: torch.Tensor, other: object) -> bool:
    """Tell whether a tensor can take the place of another."""
    return isinstance(other, torch.Tensor) and other.shape == own.shape
