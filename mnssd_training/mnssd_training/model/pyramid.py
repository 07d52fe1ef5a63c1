"""Necks: backbone feature maps to one feature map per level."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from mnssd_training.model.layers import conv_norm, depthwise_separable
from mnssd_training.model.norm import BatchNorm
import torch
from torch import nn
from torch.nn import functional


class FeaturePyramid(nn.Module):
    """
    A light feature pyramid of equal channels on all levels (Lin et al., CVPR 2017).

    :param top_down: add coarse features to fine ones.
    """

    def __init__(
        self, inputs: Sequence[int], channels: int, num_levels: int, *, top_down: bool
    ) -> None:
        super().__init__()
        self.channels = (channels,) * num_levels
        self.top_down = top_down
        self.lateral = nn.ModuleList(
            conv_norm('pointwise', width, channels, 1, act=False) for width in inputs
        )
        self.smooth = nn.ModuleList(depthwise_separable(channels, channels) for _ in inputs)
        self.extra = nn.ModuleList(
            depthwise_separable(channels, channels, stride=2)
            for _ in range(num_levels - len(inputs))
        )

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Compute one map ``(B, channels, rows, columns)`` per level, finest first."""
        maps = [layer(feature) for layer, feature in zip(self.lateral, features)]
        if self.top_down:
            for index in range(len(maps) - 2, -1, -1):
                size = maps[index].shape[-2:]
                maps[index] = maps[index] + functional.interpolate(maps[index + 1], size=size)
        maps = [layer(level) for layer, level in zip(self.smooth, maps)]
        return _append_levels(maps, self.extra)


class ExtraLevels(nn.Module):
    """Plain SSD: the backbone feature maps, and extra levels, each made from the last."""

    def __init__(self, inputs: Sequence[int], extra_channels: Sequence[int], block: str) -> None:
        super().__init__()
        self.channels = (*inputs, *extra_channels)
        make_block = {'plain': _plain, 'squeezed': _squeezed, 'depthwise': _depthwise}[block]
        widths = (inputs[-1], *extra_channels)
        self.extra = nn.ModuleList(make_block(low, high) for low, high in pairwise(widths))

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Compute one map per level, finest first."""
        return _append_levels(list(features), self.extra)


def _append_levels(maps: list[torch.Tensor], extra: nn.ModuleList) -> list[torch.Tensor]:
    for layer in extra:
        maps.append(layer(maps[-1]))
    return maps


def _plain(inputs: int, outputs: int) -> nn.Sequential:
    """Halve the map by one 3 x 3 convolution."""
    return nn.Sequential(
        OrderedDict(convolution=nn.Conv2d(inputs, outputs, 3, 2, 1), act=nn.ReLU(inplace=True))
    )


def _squeezed(inputs: int, outputs: int) -> nn.Sequential:
    """Halve by 3 x 3 after 1 x 1 of half the channels (Liu et al., SSD, ECCV 2016, figure 2)."""
    hidden = max(1, outputs // 2)
    return nn.Sequential(
        OrderedDict(
            squeeze=nn.Conv2d(inputs, hidden, 1),
            squeeze_act=nn.ReLU(inplace=True),
            convolution=nn.Conv2d(hidden, outputs, 3, 2, 1),
            act=nn.ReLU(inplace=True),
        )
    )


def _depthwise(inputs: int, outputs: int) -> nn.Sequential:
    """Halve by a depthwise-separable convolution after 1 x 1 of half the channels (SSDLite)."""
    hidden = max(1, outputs // 2)
    return nn.Sequential(
        OrderedDict(
            squeeze=nn.Conv2d(inputs, hidden, 1, bias=False),
            squeeze_norm=BatchNorm(hidden),
            squeeze_act=nn.ReLU6(inplace=True),
            convolution=depthwise_separable(hidden, outputs, stride=2),
        )
    )
