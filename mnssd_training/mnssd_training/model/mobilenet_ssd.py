"""Uint8 photographs to raw heads: the network that is trained, exported and flown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mnssd_perception.errors import SpecError
from mnssd_perception.ssd import ModelSpec, RawHeads
from mnssd_training.errors import ConfigError
from mnssd_training.model.backbone import Backbone, NUM_BLOCKS
from mnssd_training.model.layers import depthwise_separable, pointwise
import numpy as np
from numpy.typing import NDArray
import torch
from torch import nn
from torch.nn import functional

__all__ = ['build_model', 'MobileNetSsd', 'ModelConfig']

# Share of priors that a fresh network calls background; the rest is spread over the classes, so
# that the first steps are not spent on unlearning 10 000 false alarms (Lin et al., Focal Loss for
# Dense Object Detection, ICCV 2017, section 4.1).
INITIAL_BACKGROUND = 0.99


@dataclass(frozen=True)
class ModelConfig:
    """
    What the specification does not tell of the network.

    :ivar channels: of the feature maps that the heads see.
    :ivar pyramid: ``fpn`` adds coarse features to fine ones (Lin et al., Feature Pyramid Networks,
        CVPR 2017), ``none`` is plain SSD.
    :ivar frozen_blocks: blocks of the backbone, from the first on, that are not trained.
    """

    channels: int = 128
    pyramid: Literal['none', 'fpn'] = 'fpn'
    frozen_blocks: int = 0

    def __post_init__(self) -> None:
        """Refuse a network of nothing."""
        if self.channels < 1:
            raise ConfigError(f'model.channels: expected at least 1, got {self.channels}')
        if not 0 <= self.frozen_blocks <= NUM_BLOCKS:
            raise ConfigError(
                f'model.frozen_blocks: expected 0 to {NUM_BLOCKS}, got {self.frozen_blocks}'
            )


class Pyramid(nn.Module):
    """Backbone taps to one feature map a level, all of the same width."""

    def __init__(
        self, inputs: Sequence[int], channels: int, num_levels: int, *, top_down: bool
    ) -> None:
        super().__init__()
        self.top_down = top_down
        self.lateral = nn.ModuleList(pointwise(width, channels) for width in inputs[:num_levels])
        self.smooth = nn.ModuleList(depthwise_separable(channels, channels) for _ in self.lateral)
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


class Head(nn.Module):
    """Feature maps to one prediction a prior: SSDLite, with weights of its own for each level."""

    def __init__(self, channels: int, priors_a_cell: Sequence[int], width: int) -> None:
        super().__init__()
        self.width = width
        self.levels = nn.ModuleList(
            nn.Sequential(
                depthwise_separable(channels, channels),
                nn.Conv2d(channels, num * width, 1),
            )
            for num in priors_a_cell
        )

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """
        Predict.

        :param maps: a feature map a level.
        :return: ``(B, P, width)``, priors in the order of the contract.
        """
        levels = [level(x) for level, x in zip(self.levels, maps)]
        return torch.cat(
            [x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, self.width) for x in levels], dim=1
        )


class MobileNetSsd(nn.Module):
    """
    MobileNetV2-SSDLite, normalisation inside.

    :ivar spec: what goes in and comes out.
    """

    def __init__(self, spec: ModelSpec, config: ModelConfig) -> None:
        super().__init__()
        self.spec = spec
        levels = spec.feature_maps
        self.backbone = Backbone(config.frozen_blocks)
        self.pyramid = Pyramid(
            Backbone.channels, config.channels, len(levels), top_down=config.pyramid == 'fpn'
        )
        per_cell = [len(level.sizes) for level in levels]
        self.logits = Head(config.channels, per_cell, spec.num_classes + 1)
        self.offsets = Head(config.channels, per_cell, 4)
        mean, std = (
            torch.tensor(v) * 255 for v in (spec.normalisation.mean, spec.normalisation.std)
        )
        self.register_buffer('mean', mean.reshape(3, 1, 1), persistent=False)
        self.register_buffer('scale', 1 / std.reshape(3, 1, 1), persistent=False)
        self._initialise(spec.num_classes)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Compute the raw heads.

        :param images: ``(B, H, W, 3)`` uint8 RGB.
        :return: logits ``(B, P, C + 1)`` and offsets ``(B, P, 4)``, float32.
        """
        x = images.permute(0, 3, 1, 2).float()
        x = (x - self.mean) * self.scale
        maps = self.pyramid(self.backbone(x))
        return self.logits(maps).float(), self.offsets(maps).float()

    def infer(self, image: NDArray[np.uint8]) -> RawHeads:
        """
        Look at one network input, as an engine does.

        :param image: ``(H, W, 3)`` uint8 RGB of the input size.
        :return: the raw heads.
        """
        with torch.inference_mode():
            heads = self(torch.from_numpy(image)[None].to(self.mean.device))
        logits, offsets = (head[0].cpu().numpy() for head in heads)
        return RawHeads(logits, offsets)

    def _initialise(self, num_classes: int) -> None:
        """Make a fresh network call nearly everything background."""
        bias = torch.full((num_classes + 1,), (1 - INITIAL_BACKGROUND) / num_classes).log()
        bias[0] = torch.tensor(INITIAL_BACKGROUND).log()
        for head in (self.logits, self.offsets):
            for level in head.levels:
                nn.init.normal_(level[-1].weight, std=0.01)
                nn.init.zeros_(level[-1].bias)
        for level in self.logits.levels:
            level[-1].bias.data = bias.repeat(level[-1].out_channels // len(bias))


def build_model(spec: ModelSpec, config: ModelConfig) -> MobileNetSsd:
    """
    Build a network and check that its grids are those of the specification.

    :param spec: what goes in and comes out.
    :param config: what the specification does not tell.
    :return: the network, with fresh weights.
    :raises SpecError: if the network cannot make those grids.
    """
    model = MobileNetSsd(spec, config).eval()
    with torch.no_grad():
        x = torch.zeros(1, 3, *spec.input_size)
        shapes = tuple(tuple(level.shape[-2:]) for level in model.pyramid(model.backbone(x)))
    wanted = tuple(level.shape for level in spec.feature_maps)
    if shapes != wanted:
        raise SpecError(f'expected feature maps of {wanted} cells, the network makes {shapes}')
    return model
