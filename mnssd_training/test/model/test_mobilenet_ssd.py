"""The network against its specification."""

from dataclasses import replace
from typing import Any

from mnssd_perception.errors import SpecError
from mnssd_perception.ssd import (
    feature_map,
    finetune_feature_maps,
    ModelSpec,
    Normalisation,
    original_feature_maps,
)
from mnssd_training.errors import ConfigError
from mnssd_training.model import build_model, MobileNetSsd, ModelConfig
import numpy as np
import pytest
import torch


@pytest.mark.parametrize('config', [ModelConfig(32), ModelConfig(16, 'none')])
def test_heads_have_the_shapes_of_the_contract(spec: ModelSpec, config: ModelConfig) -> None:
    model = build_model(spec, config)
    with torch.no_grad():
        logits, offsets = model(torch.zeros(2, *spec.input_size, 3, dtype=torch.uint8))
    assert logits.shape == (2, spec.num_priors, 5)
    assert offsets.shape == (2, spec.num_priors, 4)
    assert logits.dtype == offsets.dtype == torch.float32
    assert not model.training


@pytest.mark.parametrize(
    ('layout', 'size'), [(original_feature_maps, 300), (finetune_feature_maps, 320)]
)
def test_the_layouts_of_six_levels_can_be_built(layout: Any, size: int) -> None:
    spec = ModelSpec((size, size), ('a',), layout((size, size)))
    model = build_model(spec, ModelConfig(channels=8))
    with torch.no_grad():
        assert (
            model(torch.zeros(1, size, size, 3, dtype=torch.uint8))[0].shape[1] == spec.num_priors
        )


@pytest.mark.parametrize('num_levels', [1, 2, 4])
def test_fewer_and_more_levels(num_levels: int) -> None:
    levels = tuple(feature_map((96, 120), 8 * 2**i, ((9.0, 9.0),)) for i in range(num_levels))
    build_model(ModelSpec((96, 120), ('a',), levels), ModelConfig(channels=8))


def test_grids_that_the_network_cannot_make_are_refused(spec: ModelSpec) -> None:
    levels = (feature_map((96, 120), 4, ((9.0, 9.0),)), *spec.feature_maps[1:])
    with pytest.raises(SpecError, match=r'expected feature maps of \(\(24, 30\)'):
        build_model(replace(spec, feature_maps=levels), ModelConfig(channels=8))


def test_normalisation_is_inside(spec: ModelSpec, model: MobileNetSsd) -> None:
    image = torch.randint(0, 256, (1, *spec.input_size, 3), dtype=torch.uint8)
    seen: list[torch.Tensor] = []
    hook = model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model(image)
    hook.remove()
    wanted = (image.numpy()[0] / 255 - Normalisation().mean) / Normalisation().std
    np.testing.assert_allclose(seen[0][0].permute(1, 2, 0).numpy(), wanted, atol=1e-5)


def test_priors_come_in_the_order_of_the_contract(spec: ModelSpec) -> None:
    """Each level, row, column and size lands on its own prior."""
    model = build_model(spec, ModelConfig(channels=8))
    maps = []
    with torch.no_grad():
        for level in spec.feature_maps:
            rows, columns = level.shape
            cells = torch.arange(rows * columns, dtype=torch.float32).reshape(1, 1, rows, columns)
            maps.append(cells.repeat(1, 8, 1, 1))
        for head in model.offsets.levels:
            head[0] = torch.nn.Identity()
            head[-1].weight.zero_()
            head[-1].weight[:, 0] = 1.0  # every output tells the cell
            head[-1].bias.copy_(torch.arange(len(head[-1].bias)) * 10_000)  # and the channel
        found = model.offsets(maps)[0]
    start = 0
    for level in spec.feature_maps:
        cells = level.shape[0] * level.shape[1]
        own = found[start : start + level.num_priors].reshape(cells, len(level.sizes), 4)
        wanted = torch.arange(cells).reshape(-1, 1, 1) + 10_000.0 * torch.arange(
            len(level.sizes) * 4
        ).reshape(1, -1, 4)
        assert torch.equal(own, wanted)
        start += level.num_priors


def test_a_fresh_network_calls_nearly_everything_background(spec: ModelSpec) -> None:
    torch.manual_seed(0)
    model = build_model(spec, ModelConfig(channels=16))
    with torch.no_grad():
        logits, offsets = model(torch.randint(0, 256, (1, *spec.input_size, 3), dtype=torch.uint8))
    assert logits.softmax(dim=2)[..., 0].min() > 0.9
    assert offsets.abs().max() < 1.0


@pytest.mark.parametrize(
    ('change', 'key'),
    [
        ({'channels': 0}, 'channels'),
        ({'frozen_blocks': -1}, 'frozen_blocks'),
        ({'frozen_blocks': 20}, 'frozen_blocks'),
    ],
)
def test_a_network_of_nothing_is_refused(change: dict[str, int], key: str) -> None:
    with pytest.raises(ConfigError, match=rf'model\.{key}: expected'):
        ModelConfig(**change)
