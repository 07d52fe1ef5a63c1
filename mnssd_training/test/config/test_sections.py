"""Values that a section refuses, alone or in combination."""

from typing import Any

from mnssd_training.config import ModelConfig, PriorsConfig
from pydantic import ValidationError
import pytest


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'pyramid_channels': 0}, 'pyramid_channels'),
        ({'pyramid_channels': 10**9}, 'pyramid_channels'),
        ({'extra_channels': (256, 0)}, 'extra_channels'),
        ({'frozen_blocks': -1}, 'frozen_blocks'),
        ({'width_mult': 0.0}, 'width_mult'),
        ({'width_mult': 1e6}, 'width_mult'),
        ({'backbone': 'resnet18'}, 'backbone: expected mobilenet_v2 or timm/NAME'),
        ({'backbone': 'timm/'}, 'backbone: expected mobilenet_v2 or timm/NAME'),
        (
            {'backbone': 'timm/resnet18', 'width_mult': 0.5},
            'width_mult, feature_location: expected',
        ),
        (
            {'backbone': 'timm/resnet18', 'feature_location': 'block'},
            'width_mult, feature_location: expected',
        ),
        ({'head_channels': 64}, 'head_channels: expected with head plain'),
        ({'pyramid': 'plain', 'shared_head': True}, 'shared_head: expected with pyramid'),
    ],
)
def test_invalid_model_config_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelConfig(**change)


@pytest.mark.parametrize(
    ('strides', 'priors_per_cell', 'message'),
    [
        ((), (), 'priors_per_cell: expected'),
        ((8, 16), (3,), r'priors_per_cell: expected a number for each of the strides \(8, 16\)'),
        ((16, 8), (3, 3), 'strides: expected each larger than the last'),
        ((8, 8), (3, 3), 'strides: expected each larger than the last'),
        ((0,), (3,), 'strides'),
        ((8,), (10**9,), 'priors_per_cell'),
    ],
)
def test_invalid_priors_config_is_refused(
    strides: tuple[int, ...], priors_per_cell: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        PriorsConfig(strides=strides, priors_per_cell=priors_per_cell)
