"""The building block of the pyramid and the heads: a depthwise-separable convolution."""

from collections import OrderedDict

from torch import nn

__all__ = ['depthwise_separable', 'pointwise']


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
            depthwise_norm=nn.BatchNorm2d(inputs),
            depthwise_act=nn.ReLU6(inplace=True),
            pointwise=nn.Conv2d(inputs, outputs, 1, bias=False),
            pointwise_norm=nn.BatchNorm2d(outputs),
            pointwise_act=nn.ReLU6(inplace=True),
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
        OrderedDict(
            pointwise=nn.Conv2d(inputs, outputs, 1, bias=False), norm=nn.BatchNorm2d(outputs)
        )
    )
