"""Keys of ``input``, ``priors``, ``model`` and ``initial``: the network and its beginning."""

from itertools import pairwise
import re
from typing import Annotated, Literal

from mnssd_training.config.section import Section
from pydantic import Field, model_validator, NonNegativeInt, PositiveFloat, PositiveInt

# Beyond these a number is a slip of the keyboard, and would only exhaust the memory.
Channels = Annotated[int, Field(ge=1, le=8192)]
Count = Annotated[int, Field(ge=1, le=100)]


class InputConfig(Section):
    """How images reach the network."""

    size: tuple[PositiveInt, PositiveInt] = (300, 300)
    """(height, width) of the network input, pixels."""
    resize: Literal['stretch', 'letterbox'] = 'stretch'
    """How images are brought to that size."""
    train_size: tuple[PositiveInt, PositiveInt] | None = None
    """(height, width) of what the network sees in training: crops at the scale of ``size``, which
    cost less; null for ``size`` itself."""


class PriorsConfig(Section):
    """How priors are laid out."""

    layout: Literal['clustered', 'original', 'finetune', 'ssdlite'] = 'clustered'
    """``clustered`` takes sizes from the training boxes; the others are published layouts."""
    strides: tuple[PositiveInt, ...] = (8, 16, 32, 64)
    """Of the levels, for ``clustered``."""
    priors_per_cell: tuple[Count, ...] = (5, 4, 3, 3)
    """Priors a cell of each level, for ``clustered``."""
    variances: tuple[PositiveFloat, PositiveFloat] = (0.1, 0.2)
    """(centre, size) divisors of the box coding."""

    @model_validator(mode='after')
    def _fit(self) -> 'PriorsConfig':
        """Refuse levels that are none."""
        if not self.strides or len(self.strides) != len(self.priors_per_cell):
            raise ValueError(
                f'priors_per_cell: expected a number for each of the strides {self.strides}, '
                f'got {self.priors_per_cell}'
            )
        if any(low >= high for low, high in pairwise(self.strides)):
            raise ValueError(f'strides: expected each larger than the last, got {self.strides}')
        return self


class ModelConfig(Section):
    """What the network is made of, beside its input, classes and priors."""

    backbone: str = 'mobilenet_v2'
    """``mobilenet_v2``, or ``timm/NAME`` for a backbone of timm with feature maps."""
    width_mult: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Multiplies the channels of ``mobilenet_v2``."""
    feature_location: Literal['expansion', 'block'] = 'expansion'
    """Where ``mobilenet_v2`` is tapped: in the expansion that halves next, or after a block."""
    pyramid: Literal['fpn', 'lateral', 'plain'] = 'fpn'
    """``fpn`` adds coarse features to fine ones, ``lateral`` only evens their channels out,
    ``plain`` takes the taps as they are and makes further levels by ``extra``."""
    pyramid_channels: Channels = 128
    """Of the feature maps of ``fpn`` and ``lateral``."""
    extra_channels: tuple[Channels, ...] = (512, 256, 256)
    """Of the levels beyond the backbone, for ``pyramid: plain``."""
    extra_layers: Literal['plain', 'squeezed', 'depthwise'] = 'squeezed'
    """How those are made, each of the one before: by a 3 x 3 convolution, with a 1 x 1 convolution
    before it, or depthwise (SSDLite)."""
    head: Literal['depthwise', 'ssdlite', 'plain'] = 'depthwise'
    """Predicts by 1 x 1 after a depthwise-separable convolution, by 1 x 1 after the depthwise part
    alone, or by a 3 x 3 convolution."""
    head_channels: Annotated[int, Field(ge=0, le=8192)] = 0
    """Of a 3 x 3 convolution before that of ``head: plain``; 0 for none."""
    shared_head: bool = False
    """The same head weights on all levels; needs as many priors a cell on each."""
    frozen_blocks: NonNegativeInt = 0
    """Blocks of the backbone, from the first on, that are not trained."""
    frozen_norm: bool = False
    """Keep the statistics and weights of the backbone's normalisation."""

    @model_validator(mode='after')
    def _fit(self) -> 'ModelConfig':
        """Refuse keys that mean nothing together."""
        if self.backbone != 'mobilenet_v2' and not re.fullmatch(r'timm/\S+', self.backbone):
            raise ValueError(
                f'backbone: expected mobilenet_v2 or timm/NAME, got {self.backbone!r}'
            )
        if self.backbone != 'mobilenet_v2' and (
            self.width_mult != 1 or self.feature_location != 'expansion'
        ):
            raise ValueError(
                'width_mult, feature_location: expected with backbone mobilenet_v2 only'
            )
        if self.head_channels and self.head != 'plain':
            raise ValueError('head_channels: expected with head plain only')
        if self.shared_head and self.pyramid == 'plain':
            raise ValueError('shared_head: expected with pyramid fpn or lateral, got plain')
        return self


class InitialConfig(Section):
    """What the weights begin with."""

    backbone_weights: str = Field(default='', json_schema_extra={'path': True})
    """``imagenet`` for those that torchvision or timm downloads, the path of such a state dict, or
    empty for none."""
    checkpoint: str = Field(default='', json_schema_extra={'path': True})
    """Checkpoint of a like network to fine-tune, a path or ``s3://``, or the path of a bundle,
    such as the one that mnssd ships; empty for none. Layers whose shapes differ begin afresh."""
