"""The detector network: uint8 images to raw heads, as it is trained, exported and flown."""

from collections.abc import Sequence
from math import log2
import textwrap

from mnssd_perception.ssd import ModelSpec
from mnssd_training.config.sections import ModelConfig
from mnssd_training.errors import ConfigError
from mnssd_training.model.backbone import Backbone
from mnssd_training.model.heads import PredictionHead, SharedPredictionHead
from mnssd_training.model.mobilenet_v2 import MobileNetV2
from mnssd_training.model.pyramid import ExtraLevels, FeaturePyramid
import torch
from torch import nn

# Initial probability of background; the remainder is spread over the classes, so that the first
# steps are not spent on unlearning 10 000 false alarms (Lin et al., Focal Loss for Dense Object
# Detection, ICCV 2017, section 4.1).
INITIAL_BACKGROUND = 0.99


class MobileNetSsd(nn.Module):
    """A single-shot detector that normalises its input, also one of another size, itself."""

    def __init__(self, spec: ModelSpec, config: ModelConfig) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = _make_backbone(spec, config)
        self.pyramid = _make_pyramid(self.backbone.channels, len(spec.feature_maps), config)
        self.logits = _make_head(spec, config, self.pyramid.channels, spec.num_classes + 1)
        self.offsets = _make_head(spec, config, self.pyramid.channels, 4)
        mean, std = (
            torch.tensor(v) * 255 for v in (spec.normalisation.mean, spec.normalisation.std)
        )
        self.register_buffer('mean', mean.reshape(3, 1, 1), persistent=False)
        self.register_buffer('scale', 1 / std.reshape(3, 1, 1), persistent=False)
        self._initialise_heads(spec.num_classes)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute logits ``(B, P, C + 1)`` and offsets ``(B, P, 4)`` of ``(B, H, W, 3)`` RGB."""
        return self.predict(self.compute_maps(images))

    def compute_maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Compute the feature map ``(B, C, rows, columns)`` of each level."""
        x = images.permute(0, 3, 1, 2).float()
        maps: list[torch.Tensor] = self.pyramid(self.backbone((x - self.mean) * self.scale))
        return maps

    def predict(self, maps: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute logits and offsets of feature maps."""
        return self.logits(maps).float(), self.offsets(maps).float()

    def _initialise_heads(self, num_classes: int) -> None:
        bias = torch.full((num_classes + 1,), (1 - INITIAL_BACKGROUND) / num_classes).log()
        bias[0] = torch.tensor(INITIAL_BACKGROUND).log()
        for head in (self.logits, self.offsets):
            for layer in head.prediction_layers():
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.zeros_(layer.bias)
        for layer in self.logits.prediction_layers():
            layer.bias.data = bias.repeat(layer.out_channels // len(bias))


def build_model(spec: ModelSpec, config: ModelConfig) -> MobileNetSsd:
    """Build a network in evaluation mode and check its grids against the specification."""
    model = MobileNetSsd(spec, config).eval()
    check_grids(model, spec)
    return model


def check_grids(model: MobileNetSsd, spec: ModelSpec) -> None:
    """
    Check that a network makes the grids of a specification, which may be for another input size.

    :raises ConfigError: naming the keys that contradict each other.
    """
    was_training, size = model.training, spec.input_size
    x = torch.zeros(1, 3, *size, device=model.mean.device)
    try:
        with torch.no_grad():
            maps = model.eval().pyramid(model.backbone(x))
    except Exception as error:  # each of a thousand backbones refuses sizes in its own way
        raise ConfigError(
            f'input.size, input.train_size, training.multi_scale: the network cannot process an '
            f'input of {_join([size])}: {textwrap.shorten(str(error), 200)}'
        ) from error
    finally:
        model.train(was_training)
    shapes = [tuple(level.shape[-2:]) for level in maps]
    expected = [level.shape for level in spec.feature_maps]
    if shapes != expected:
        raise ConfigError(
            f'input.size, priors.layout, priors.strides: expected grids of {_join(expected)} '
            f'cells for an input of {_join([size])}, the network makes {_join(shapes)}'
        )


def _make_backbone(spec: ModelSpec, config: ModelConfig) -> Backbone:
    backbone: Backbone
    # Powers of two. A level whose cells divide the input evenly has a stride a little smaller than
    # that, and the grids of the coarsest fit more than one; each level has at least twice the
    # stride of the one before.
    strides: list[int] = []
    for level in spec.feature_maps:
        nearest = 2 ** max(0, round(log2(max(level.stride))))
        strides.append(max(nearest, 2 * strides[-1]) if strides else nearest)
    if config.backbone.startswith('timm/'):
        try:
            from mnssd_training.model.timm_backbone import TimmBackbone
        except ImportError as error:
            raise ConfigError('model.backbone: timm/NAME needs timm; pip install timm') from error
        backbone = TimmBackbone(config.backbone.removeprefix('timm/'), strides, spec.input_size)
    else:
        backbone = MobileNetV2(strides, config.width_mult, config.feature_location)
    backbone.freeze(config.frozen_blocks, norm=config.frozen_norm)
    return backbone


def _make_pyramid(
    inputs: tuple[int, ...], num_levels: int, config: ModelConfig
) -> FeaturePyramid | ExtraLevels:
    if config.pyramid != 'plain':
        top_down = config.pyramid == 'fpn'
        return FeaturePyramid(inputs, config.pyramid_channels, num_levels, top_down=top_down)
    num_extra = num_levels - len(inputs)
    if len(config.extra_channels) < num_extra:
        raise ConfigError(
            f'model.extra_channels: expected channels of {num_extra} levels beyond the backbone, '
            f'got {list(config.extra_channels)}'
        )
    return ExtraLevels(inputs, config.extra_channels[:num_extra], config.extra_layers)


def _make_head(
    spec: ModelSpec, config: ModelConfig, channels: tuple[int, ...], num_outputs: int
) -> PredictionHead | SharedPredictionHead:
    per_cell = [len(level.sizes) for level in spec.feature_maps]
    block, hidden = config.head, config.head_channels
    if not config.shared_head:
        return PredictionHead(channels, per_cell, num_outputs, block=block, hidden_channels=hidden)
    if len(set(per_cell)) > 1:
        raise ConfigError(
            f'model.shared_head: expected as many priors per cell on each level, got {per_cell}; '
            f'see priors.priors_per_cell'
        )
    return SharedPredictionHead(
        channels[0], len(channels), per_cell[0], num_outputs, block=block, hidden_channels=hidden
    )


def _join(shapes: Sequence[tuple[int, ...]]) -> str:
    return ', '.join(f'{rows} x {columns}' for rows, columns in shapes)
