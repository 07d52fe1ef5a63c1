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


def conv_norm(
    name: str, inputs: int, outputs: int, kernel_size: int, *, groups: int = 1, act: bool = True
) -> nn.Sequential:
    """Make a convolution called ``name`` with batch norm and, with ``act``, ReLU6."""
    padding = kernel_size // 2
    convolution = nn.Conv2d(
        inputs, outputs, kernel_size, padding=padding, groups=groups, bias=False
    )
    layers = OrderedDict([(name, convolution), ('norm', BatchNorm(outputs))])
    if act:
        layers['act'] = nn.ReLU6(inplace=True)
    return nn.Sequential(layers)
