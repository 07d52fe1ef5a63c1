"""Backbone taps to one feature map a level."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from mnssd_training.model.layers import depthwise_separable, pointwise
from mnssd_training.model.norm import BatchNorm
import torch
from torch import nn
from torch.nn import functional


class Pyramid(nn.Module):
    """
    Feature maps of one width: a light feature pyramid (Lin et al., CVPR 2017).

    :param inputs: channels of the taps.
    :param channels: of the feature maps.
    :param num_levels: of them, at least as many as there are taps.
    :param top_down: add coarse features to fine ones.
    """

    def __init__(
        self, inputs: Sequence[int], channels: int, num_levels: int, *, top_down: bool
    ) -> None:
        super().__init__()
        self.channels = (channels,) * num_levels
        self.top_down = top_down
        self.lateral = nn.ModuleList(pointwise(width, channels) for width in inputs)
        self.smooth = nn.ModuleList(depthwise_separable(channels, channels) for _ in inputs)
        self.extra = nn.ModuleList(
            depthwise_separable(channels, channels, stride=2)
            for _ in range(num_levels - len(inputs))
        )

    def forward(self, taps: list[torch.Tensor]) -> list[torch.Tensor]:
        """
        Merge the taps.

        :param taps: of the backbone, finest first.
        :return: a feature map a level, ``(B, channels, rows, columns)``.
        """
        maps = [layer(tap) for layer, tap in zip(self.lateral, taps)]
        if self.top_down:
            for index in range(len(maps) - 2, -1, -1):
                size = maps[index].shape[-2:]
                maps[index] = maps[index] + functional.interpolate(maps[index + 1], size=size)
        maps = [layer(level) for layer, level in zip(self.smooth, maps)]
        for layer in self.extra:
            maps.append(layer(maps[-1]))
        return maps


class PlainPyramid(nn.Module):
    """
    The taps as they are, and further levels, each made of the one before: plain SSD.

    :param inputs: channels of the taps.
    :param extra_channels: of the further levels.
    :param extra: how they are made: ``plain``, ``squeezed`` or ``depthwise``.
    """

    def __init__(self, inputs: Sequence[int], extra_channels: Sequence[int], extra: str) -> None:
        super().__init__()
        self.channels = (*inputs, *extra_channels)
        block = {'plain': _plain, 'squeezed': _squeezed, 'depthwise': _depthwise}[extra]
        widths = (inputs[-1], *extra_channels)
        self.extra = nn.ModuleList(block(low, high) for low, high in pairwise(widths))

    def forward(self, taps: list[torch.Tensor]) -> list[torch.Tensor]:
        """
        Add the further levels.

        :param taps: of the backbone, finest first.
        :return: a feature map a level.
        """
        maps = list(taps)
        for layer in self.extra:
            maps.append(layer(maps[-1]))
        return maps


def _plain(inputs: int, outputs: int) -> nn.Sequential:
    """Halve by one 3 x 3 convolution."""
    return nn.Sequential(
        OrderedDict(convolution=nn.Conv2d(inputs, outputs, 3, 2, 1), act=nn.ReLU(inplace=True))
    )


def _squeezed(inputs: int, outputs: int) -> nn.Sequential:
    """Halve by 3 x 3 after 1 x 1 of half the channels (Liu et al., SSD, ECCV 2016, figure 2)."""
    middle = max(1, outputs // 2)
    return nn.Sequential(
        OrderedDict(
            squeeze=nn.Conv2d(inputs, middle, 1),
            squeeze_act=nn.ReLU(inplace=True),
            convolution=nn.Conv2d(middle, outputs, 3, 2, 1),
            act=nn.ReLU(inplace=True),
        )
    )


def _depthwise(inputs: int, outputs: int) -> nn.Sequential:
    """Halve in depth after 1 x 1 of half the channels (SSDLite), normalised."""
    middle = max(1, outputs // 2)
    return nn.Sequential(
        OrderedDict(
            squeeze=nn.Conv2d(inputs, middle, 1, bias=False),
            squeeze_norm=BatchNorm(middle),
            squeeze_act=nn.ReLU6(inplace=True),
            convolution=depthwise_separable(middle, outputs, stride=2),
        )
    )
