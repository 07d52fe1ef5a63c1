"""Feature maps to one prediction a prior, in the order of the contract."""

from collections.abc import Sequence

from mnssd_training.model.layers import convolution, depthwise, depthwise_separable
from mnssd_training.model.norm import BatchNorm
import torch
from torch import nn
from torch.nn import functional


class Head(nn.Module):
    """
    Predictions with weights of their own for each level.

    :param channels: of the feature map of each level.
    :param per_cell: priors a cell of each level.
    :param width: numbers that are predicted of a prior.
    :param kind: ``depthwise``, ``ssdlite`` or ``plain``.
    :param middle: channels of a convolution before a plain prediction; 0 for none.
    """

    def __init__(
        self,
        channels: Sequence[int],
        per_cell: Sequence[int],
        width: int,
        *,
        kind: str,
        middle: int = 0,
    ) -> None:
        super().__init__()
        self.width = width
        self.levels = nn.ModuleList(
            _layers(kind, inputs, middle, num * width) for inputs, num in zip(channels, per_cell)
        )

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """
        Predict.

        :param maps: a feature map a level.
        :return: ``(B, P, width)``, priors in the order of the contract.
        """
        return _in_order([level(x) for level, x in zip(self.levels, maps)], self.width)

    def predictions(self) -> list[nn.Conv2d]:
        """List the last layers."""
        return [level[-1] for level in self.levels]


class SharedHead(nn.Module):
    """
    Predictions with the same convolutions on all levels (Lin et al., Focal Loss, ICCV 2017).

    Each level has normalisation of its own, as its statistics are its own (Tan et al.,
    EfficientDet, CVPR 2020).

    :param channels: of the feature maps.
    :param num_levels: of them.
    :param per_cell: priors a cell of every level.
    :param width: numbers that are predicted of a prior.
    :param kind: ``depthwise``, ``ssdlite`` or ``plain``.
    :param middle: channels of a convolution before a plain prediction; 0 for none.
    """

    def __init__(
        self,
        channels: int,
        num_levels: int,
        per_cell: int,
        width: int,
        *,
        kind: str,
        middle: int = 0,
    ) -> None:
        super().__init__()
        self.width = width
        layers = _layers(kind, channels, middle, per_cell * width)
        *tower, self.prediction = (m for m in layers.modules() if isinstance(m, nn.Conv2d))
        self.tower = nn.ModuleList(tower)
        self.norms = nn.ModuleList(
            nn.ModuleList(BatchNorm(layer.out_channels) for layer in tower)
            for _ in range(num_levels)
        )

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """
        Predict.

        :param maps: a feature map a level.
        :return: ``(B, P, width)``, priors in the order of the contract.
        """
        found = []
        for x, norms in zip(maps, self.norms):
            for layer, norm in zip(self.tower, norms):
                x = functional.relu6(norm(layer(x)))  # noqa: PLW2901
            found.append(self.prediction(x))
        return _in_order(found, self.width)

    def predictions(self) -> list[nn.Conv2d]:
        """List the last layer."""
        return [self.prediction]


def _layers(kind: str, inputs: int, middle: int, outputs: int) -> nn.Sequential:
    """Stack what predicts from a feature map; the last layer has no activation."""
    if kind == 'depthwise':
        return nn.Sequential(depthwise_separable(inputs, inputs), nn.Conv2d(inputs, outputs, 1))
    if kind == 'ssdlite':
        return nn.Sequential(depthwise(inputs), nn.Conv2d(inputs, outputs, 1))
    before = [convolution(inputs, middle)] if middle else []
    return nn.Sequential(*before, nn.Conv2d(middle or inputs, outputs, 3, padding=1))


def _in_order(maps: list[torch.Tensor], width: int) -> torch.Tensor:
    """Lay out predictions level by level, row by row, cell by cell, prior by prior."""
    return torch.cat([x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, width) for x in maps], dim=1)
