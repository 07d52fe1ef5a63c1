"""Convolution blocks of the pyramid and the heads; their names are those of stored weights."""

from collections import OrderedDict

from mnssd_training.model.norm import BatchNorm
from torch import nn


def depthwise_separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """
    Make a 3 x 3 depthwise and a 1 x 1 convolution, each with batch norm and ReLU6.

    Sandler et al., MobileNetV2, CVPR 2018, section 6.2 (SSDLite).
    """
    return nn.Sequential(
        OrderedDict(
            depthwise=nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
            depthwise_norm=BatchNorm(inputs),
            depthwise_act=nn.ReLU6(inplace=True),
            pointwise=nn.Conv2d(inputs, outputs, 1, bias=False),
            pointwise_norm=BatchNorm(outputs),
            pointwise_act=nn.ReLU6(inplace=True),
        )
    )


def depthwise(channels: int) -> nn.Sequential:
    """Make a 3 x 3 depthwise convolution with batch norm and ReLU6."""
    return nn.Sequential(
        OrderedDict(
            depthwise=nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False),
            norm=BatchNorm(channels),
            act=nn.ReLU6(inplace=True),
        )
    )


def pointwise(inputs: int, outputs: int) -> nn.Sequential:
    """Make a 1 x 1 convolution with batch norm, without activation."""
    return nn.Sequential(
        OrderedDict(pointwise=nn.Conv2d(inputs, outputs, 1, bias=False), norm=BatchNorm(outputs))
    )


def convolution(inputs: int, outputs: int) -> nn.Sequential:
    """Make a 3 x 3 convolution with batch norm and ReLU6."""
    return nn.Sequential(
        OrderedDict(
            convolution=nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            norm=BatchNorm(outputs),
            act=nn.ReLU6(inplace=True),
        )
    )
