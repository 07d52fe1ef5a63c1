"""Prediction heads: feature maps to numbers per prior, in the order of the contract."""

from collections.abc import Sequence

from mnssd_training.model.layers import conv_norm, depthwise_separable
from mnssd_training.model.norm import BatchNorm
import torch
from torch import nn
from torch.nn import functional


class PredictionHead(nn.Module):
    """
    A head with separate weights for each level.

    :param block: ``depthwise``, ``ssdlite`` or ``plain``.
    :param hidden_channels: of a convolution before a plain prediction; 0 for none.
    """

    def __init__(
        self,
        channels: Sequence[int],
        priors_per_cell: Sequence[int],
        num_outputs: int,
        *,
        block: str,
        hidden_channels: int = 0,
    ) -> None:
        super().__init__()
        self.num_outputs = num_outputs
        self.levels = nn.ModuleList(
            _make_layers(block, inputs, hidden_channels, num_priors * num_outputs)
            for inputs, num_priors in zip(channels, priors_per_cell)
        )

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Predict ``(B, P, num_outputs)`` from one feature map per level."""
        return _flatten(self.predict_maps(maps), self.num_outputs)

    def predict_maps(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        """Predict ``(B, priors_per_cell * num_outputs, rows, columns)`` for each level."""
        return [level(x) for level, x in zip(self.levels, maps)]

    def prediction_layers(self) -> list[nn.Conv2d]:
        """List the last layer of each level."""
        return [level[-1] for level in self.levels]


class SharedPredictionHead(nn.Module):
    """
    A head with the same convolutions on all levels (Lin et al., Focal Loss, ICCV 2017).

    Each level has its own batch norm, since its statistics differ (Tan et al., EfficientDet,
    CVPR 2020). The parameters are those of :class:`PredictionHead`.
    """

    def __init__(
        self,
        channels: int,
        num_levels: int,
        priors_per_cell: int,
        num_outputs: int,
        *,
        block: str,
        hidden_channels: int = 0,
    ) -> None:
        super().__init__()
        self.num_outputs = num_outputs
        layers = _make_layers(block, channels, hidden_channels, priors_per_cell * num_outputs)
        *tower, self.prediction = (m for m in layers.modules() if isinstance(m, nn.Conv2d))
        self.tower = nn.ModuleList(tower)
        self.norms = nn.ModuleList(
            nn.ModuleList(BatchNorm(layer.out_channels) for layer in tower)
            for _ in range(num_levels)
        )

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Predict ``(B, P, num_outputs)`` from one feature map per level."""
        return _flatten(self.predict_maps(maps), self.num_outputs)

    def predict_maps(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        """Predict ``(B, priors_per_cell * num_outputs, rows, columns)`` for each level."""
        outputs = []
        for x, norms in zip(maps, self.norms):
            for layer, norm in zip(self.tower, norms):
                x = functional.relu6(norm(layer(x)))  # noqa: PLW2901
            outputs.append(self.prediction(x))
        return outputs

    def prediction_layers(self) -> list[nn.Conv2d]:
        """List the last layer."""
        return [self.prediction]


def _make_layers(block: str, inputs: int, hidden_channels: int, outputs: int) -> nn.Sequential:
    """Stack the layers of one level; the last layer has no activation."""
    if block == 'depthwise':
        return nn.Sequential(depthwise_separable(inputs, inputs), nn.Conv2d(inputs, outputs, 1))
    if block == 'ssdlite':
        depthwise = conv_norm('depthwise', inputs, inputs, 3, groups=inputs)
        return nn.Sequential(depthwise, nn.Conv2d(inputs, outputs, 1))
    hidden = [conv_norm('convolution', inputs, hidden_channels, 3)] if hidden_channels else []
    return nn.Sequential(*hidden, nn.Conv2d(hidden_channels or inputs, outputs, 3, padding=1))


def _flatten(maps: list[torch.Tensor], num_outputs: int) -> torch.Tensor:
    """Order predictions by level, row, column and prior, ``(B, P, num_outputs)``."""
    rows = [x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, num_outputs) for x in maps]
    return torch.cat(rows, dim=1)
