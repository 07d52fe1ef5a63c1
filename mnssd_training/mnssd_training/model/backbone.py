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
    """Computes a feature map for each of its strides."""

    checkpointing = False  # recompute activations in the backward pass instead of keeping them

    def __init__(self) -> None:
        super().__init__()
        self.channels: tuple[int, ...] = ()  # of the feature maps, finest first
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
        Load pretrained weights; CheckpointError if they are missing or do not fit.

        :param source: ``imagenet`` for those that the library downloads, or the path of a state
            dict of the published network; a classifier in it is ignored.
        """

    def freeze(self, num_blocks: int, *, norm: bool) -> None:
        """
        Fix weights and statistics of the first blocks and, with ``norm``, of all norms.

        The first four blocks of MobileNetV2 work at stride 2 and 4: they detect edges, which look
        alike in any image, and cost half of a training step.
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
    """Select the strides that the backbone computes, rising; coarser levels are extra layers."""
    selected = [stride for stride in requested if stride <= available[-1]]
    if not selected or not set(selected) <= set(available):
        levels, maps = (', '.join(map(str, strides)) for strides in (requested, available))
        raise ConfigError(
            f'priors.layout, priors.strides: the levels have strides {levels}, '
            f'but model.backbone {backbone} makes feature maps of strides {maps}'
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
