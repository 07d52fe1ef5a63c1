"""Keep an exponential moving average of a network, which scores better than its last step."""

import copy

import torch
from torch import nn


class Ema:
    """
    Exponential moving average of all weights and buffers.

    The decay rises with the steps, min(decay, (1 + step) / (warmup + step)). torch's
    ``AveragedModel`` knows neither a warm-up nor the step, and copies the first update whole.
    """

    def __init__(self, model: nn.Module, decay: float, warmup: int = 10) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay, self._warmup = decay, warmup

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the network after a step, counted from 0."""
        decay = min(self._decay, (1 + step) / (self._warmup + step)) if self._decay else 0.0
        averages = self.model.state_dict()
        values = model.state_dict()
        # One kernel for all of a kind: on a GPU, 79 counters would be 79 launches.
        floats = [key for key, value in values.items() if value.is_floating_point()]
        others = [key for key, value in values.items() if not value.is_floating_point()]
        torch._foreach_lerp_(
            [averages[key] for key in floats], [values[key] for key in floats], 1 - decay
        )
        if others:
            torch._foreach_copy_([averages[key] for key in others], [values[k] for k in others])
