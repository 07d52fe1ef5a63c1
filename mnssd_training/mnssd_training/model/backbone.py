"""Images to feature maps: what all backbones share, which is freezing and recomputing."""

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
    A network that makes a feature map for each of some strides.

    :ivar channels: of the feature maps, finest first.
    :ivar checkpointing: compute activations a second time in the backward pass instead of keeping
        them.
    """

    checkpointing = False

    def __init__(self) -> None:
        super().__init__()
        self.channels: tuple[int, ...] = ()
        self._frozen_blocks = 0
        self._frozen_norm = False

    @abstractmethod
    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """
        Compute the feature maps.

        :param images: ``(B, 3, H, W)`` float, normalised.
        :return: one for each stride.
        """

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """List the parts in order from the stem, for freezing and for rates by depth."""

    @abstractmethod
    def load_weights(self, source: str) -> None:
        """
        Start from trained weights.

        :param source: ``imagenet`` for those that the library downloads, or the path of a state
            dict.
        :raises CheckpointError: if there are none, or they are for something else.
        """

    def freeze(self, num_blocks: int, *, norm: bool) -> None:
        """
        Keep weights and statistics as they are.

        :param num_blocks: from the stem on. The first four of MobileNetV2 work at stride 2 and 4:
            they see edges, which look alike in any image, and cost half of a training step.
        :param norm: also those of all normalisation layers.
        :raises ConfigError: if there are fewer blocks.
        """
        total = len(self.blocks())
        if num_blocks > total:
            raise ConfigError(f'model.frozen_blocks: expected 0 to {total}, got {num_blocks}')
        self._frozen_blocks, self._frozen_norm = num_blocks, norm
        for part in self._frozen():
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> 'Backbone':
        """
        Switch to training or evaluation; what is frozen stays in evaluation.

        :param mode: True for training.
        :return: the backbone.
        """
        super().train(mode)
        for part in self._frozen():
            part.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        """List what is frozen."""
        norms = [part for part in self.modules() if is_norm(part)] if self._frozen_norm else []
        return [*self.blocks()[: self._frozen_blocks], *norms]

    def _run(self, part: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Run one part, with its activations kept or computed again."""
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return recomputed(part, part, x)
        return part(x)


def chosen_strides(wanted: Sequence[int], offered: Sequence[int], name: str) -> list[int]:
    """
    Choose the strides that a backbone makes itself; what is coarser is made of its last map.

    :param wanted: strides of all levels, rising.
    :param offered: strides of the backbone, rising.
    :param name: of the backbone, for the error.
    :return: the first of ``wanted``.
    :raises ConfigError: if a level needs a stride that there is not.
    """
    own = [stride for stride in wanted if stride <= offered[-1]]
    if not own or not set(own) <= set(offered):
        raise ConfigError(
            f'priors.layout, priors.strides: the levels have strides {_words(wanted)}, '
            f'but model.backbone {name} makes feature maps of strides {_words(offered)}'
        )
    return own


@torch.compiler.disable  # the compiler knows no contexts around a recomputation
def recomputed(part: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """
    Run a part without keeping its activations; its statistics are counted once.

    :param part: whose statistics.
    :param forward: what it computes.
    :param args: of ``forward``.
    :param kwargs: of ``forward``.
    :return: what ``forward`` returns.
    """
    return checkpoint(
        forward,
        *args,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), statistics_kept(part)),
        **kwargs,
    )


def _words(strides: Sequence[int]) -> str:
    """Write strides."""
    return ', '.join(map(str, strides))
