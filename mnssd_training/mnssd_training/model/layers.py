"""The building blocks of the pyramid and the heads: depthwise-separable, pointwise and plain."""

from collections import OrderedDict

from mnssd_training.model.norm import BatchNorm
from torch import nn


def depthwise_separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """
    Convolve 3 x 3 in depth, then 1 x 1, each with normalisation and ReLU6.

    Sandler et al., MobileNetV2, CVPR 2018, section 6.2 (SSDLite).

    :param inputs: channels.
    :param outputs: channels.
    :param stride: of the 3 x 3 part.
    :return: the block.
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
    """
    Convolve 3 x 3 in depth, with normalisation and ReLU6.

    :param channels: of input and output.
    :return: the block.
    """
    return nn.Sequential(
        OrderedDict(
            depthwise=nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False),
            norm=BatchNorm(channels),
            act=nn.ReLU6(inplace=True),
        )
    )


def pointwise(inputs: int, outputs: int) -> nn.Sequential:
    """
    Convolve 1 x 1 with normalisation, without activation.

    :param inputs: channels.
    :param outputs: channels.
    :return: the block.
    """
    return nn.Sequential(
        OrderedDict(pointwise=nn.Conv2d(inputs, outputs, 1, bias=False), norm=BatchNorm(outputs))
    )


def convolution(inputs: int, outputs: int) -> nn.Sequential:
    """
    Convolve 3 x 3 with normalisation and ReLU6.

    :param inputs: channels.
    :param outputs: channels.
    :return: the block.
    """
    return nn.Sequential(
        OrderedDict(
            convolution=nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            norm=BatchNorm(outputs),
            act=nn.ReLU6(inplace=True),
        )
    )
