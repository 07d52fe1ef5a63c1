"""A moving average of a network, which scores better than its last step."""

import copy

import torch
from torch import nn


class Ema:
    """
    Exponential moving average of all weights and statistics.

    The decay rises with the steps, min(decay, (1 + n) / (warmup + n)), so that the first average
    is not the fresh network.

    :ivar model: the averaged network, in evaluation mode.
    """

    def __init__(self, model: nn.Module, decay: float, warmup: int = 10) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay
        self._warmup = warmup

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """
        Take one step into the average.

        :param model: the network in training.
        :param step: counted from 0.
        """
        decay = min(self._decay, (1 + step) / (self._warmup + step)) if self._decay else 0.0
        own = self.model.state_dict()
        floats, news = [], []
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                floats.append(own[key])
                news.append(value)
            else:
                own[key].copy_(value)
        torch._foreach_lerp_(floats, news, 1 - decay)
