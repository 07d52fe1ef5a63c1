"""The interface of backbones, with freezing and gradient checkpointing."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from mnssd_training.errors import ConfigError
from mnssd_training.model.norm import is_norm, statistics_kept
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Backbone(nn.Module):
    """
    Computes a feature map for each of its strides.

    :ivar channels: of the feature maps, finest first.
    :ivar checkpointing: recompute activations in the backward pass instead of keeping them.
    """

    checkpointing = False

    def __init__(self) -> None:
        super().__init__()
        self.channels: tuple[int, ...] = ()
        self._num_frozen_blocks = 0
        self._is_norm_frozen = False

    @abstractmethod
    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Compute the feature maps of normalised images, ``(B, 3, H, W)`` float."""

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """List the blocks in order from the stem, for freezing and layer-wise learning rates."""

    @abstractmethod
    def load_weights(self, source: str) -> None:
        """
        Load pretrained weights.

        :param source: ``imagenet`` for those that the library downloads, or the path of a state
            dict of the published network; a classifier in it is ignored.
        :raises CheckpointError: if they are missing or do not fit.
        """

    def freeze(self, num_blocks: int, *, norm: bool) -> None:
        """
        Keep weights and statistics fixed.

        :param num_blocks: from the stem on. The first four of MobileNetV2 work at stride 2 and 4:
            they detect edges, which look alike in any image, and cost half of a training step.
        :param norm: also those of all normalisation layers.
        :raises ConfigError: if there are fewer blocks.
        """
        total = len(self.blocks())
        if num_blocks > total:
            raise ConfigError(f'model.frozen_blocks: expected 0 to {total}, got {num_blocks}')
        self._num_frozen_blocks, self._is_norm_frozen = num_blocks, norm
        for module in self._frozen_modules():
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> 'Backbone':
        """Switch to training or evaluation mode; frozen modules stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def _frozen_modules(self) -> list[nn.Module]:
        frozen = self.blocks()[: self._num_frozen_blocks]
        if self._is_norm_frozen:
            frozen += [module for module in self.modules() if is_norm(module)]
        return frozen

    def _run(self, block: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return run_checkpointed(block, block, x)
        return block(x)


def select_strides(requested: Sequence[int], available: Sequence[int], backbone: str) -> list[int]:
    """
    Select the strides of the levels that the backbone computes; coarser levels are extra layers.

    :param requested: strides of all levels, rising.
    :param available: strides of the backbone, rising.
    :raises ConfigError: if a level needs a stride that the backbone lacks.
    """
    selected = [stride for stride in requested if stride <= available[-1]]
    if not selected or not set(selected) <= set(available):
        raise ConfigError(
            f'priors.layout, priors.strides: the levels have strides {_join(requested)}, '
            f'but model.backbone {backbone} makes feature maps of strides {_join(available)}'
        )
    return selected


@torch.compiler.disable  # torch.compile does not support contexts around a recomputation
def run_checkpointed(
    module: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Call ``forward`` with gradient checkpointing; update the statistics of ``module`` once."""
    return checkpoint(
        forward,
        *args,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), statistics_kept(module)),
        **kwargs,
    )


def _join(strides: Sequence[int]) -> str:
    return ', '.join(map(str, strides))
