"""The network against its specification."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mnssd_perception.ssd import (
    feature_map,
    FeatureMap,
    finetune_feature_maps,
    ModelSpec,
    Normalisation,
    original_feature_maps,
    ssdlite_feature_maps,
)
from mnssd_training.config import ModelConfig
from mnssd_training.errors import ConfigError
from mnssd_training.model import build_model, check_grids, MobileNetSsd
from mnssd_training.priors import resize_spec
import numpy as np
import pytest
import torch

Layout = Callable[[tuple[int, int]], tuple[FeatureMap, ...]]


def doubled(size: tuple[int, int], strides: tuple[int, ...]) -> tuple[FeatureMap, ...]:
    """Lay out two priors a cell."""
    return tuple(feature_map(size, stride, ((9.0, 9.0), (20.0, 12.0))) for stride in strides)


CONFIGS = [
    {'pyramid_channels': 16},
    {'pyramid_channels': 8, 'pyramid': 'lateral', 'head': 'ssdlite'},
    {'pyramid': 'plain', 'head': 'plain', 'feature_location': 'block'},
    {'pyramid': 'plain', 'head': 'ssdlite', 'extra_layers': 'depthwise'},
    {'pyramid': 'plain', 'head': 'plain', 'head_channels': 8, 'extra_layers': 'plain'},
    {'pyramid_channels': 8, 'head': 'plain', 'head_channels': 8, 'shared_head': True},
    {'pyramid_channels': 8, 'head': 'plain', 'shared_head': True},
    {'pyramid_channels': 8, 'shared_head': True, 'backbone': 'timm/test_resnet'},
]


def config_id(config: dict[str, Any]) -> str:
    return ' '.join(f'{key}={value}' for key, value in config.items())


@pytest.mark.parametrize('config', CONFIGS, ids=config_id)
def test_raw_heads_have_the_shapes_of_the_contract(config: dict[str, Any]) -> None:
    size = (96, 120)
    made = ModelSpec(size, ('a', 'b', 'c'), doubled(size, (8, 16, 32, 64, 128)))
    network = build_model(made, ModelConfig(extra_channels=(16, 8), **config))
    assert not network.training
    for shape in (size, (64, 64), (70, 130)):
        cells = [-(-shape[0] // s) * -(-shape[1] // s) for s in (8, 16, 32, 64, 128)]
        with torch.no_grad():
            logits, offsets = network(torch.zeros(2, *shape, 3, dtype=torch.uint8))
        assert logits.shape == (2, 2 * sum(cells), 4)
        assert offsets.shape == (2, 2 * sum(cells), 4)
        assert logits.dtype == offsets.dtype == torch.float32
        assert logits.softmax(dim=2)[..., 0].min() > 0.9  # nearly all is background at first
        assert offsets.abs().max() < 1.0


@pytest.mark.parametrize('config', CONFIGS, ids=config_id)
def test_one_image_gives_every_weight_a_gradient(config: dict[str, Any]) -> None:
    size = (64, 64)
    made = ModelSpec(size, ('a',), doubled(size, (8, 16, 32, 64)))
    network = build_model(made, ModelConfig(extra_channels=(16,), **config)).train()
    for head in (network.logits, network.offsets):
        for layer in head.prediction_layers():
            torch.nn.init.ones_(layer.weight)
    logits, offsets = network(torch.randint(0, 256, (1, *size, 3), dtype=torch.uint8))
    (logits.square().mean() + offsets.square().mean()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ('layout', 'size', 'num'),
    [
        (original_feature_maps, (300, 300), 13502),
        (original_feature_maps, (224, 224), 7280),
        (finetune_feature_maps, (320, 320), 9602),
        (finetune_feature_maps, (96, 640), None),
        (finetune_feature_maps, (64, 64), None),
        (ssdlite_feature_maps, (320, 320), 3234),
        (ssdlite_feature_maps, (200, 328), None),
    ],
)
def test_published_layouts_can_be_built(
    layout: Layout, size: tuple[int, int], num: int | None
) -> None:
    made = ModelSpec(size, ('a',), layout(size))
    network = build_model(made, ModelConfig(width_mult=0.35, pyramid_channels=8))
    with torch.no_grad():
        actual = network(torch.zeros(1, *size, 3, dtype=torch.uint8))[0].shape[1]
    assert actual == made.num_priors == (num or actual)


def counts(network: MobileNetSsd) -> list[float]:
    """Count millions of weights of each part."""
    parts = (network.backbone, network.pyramid, network.offsets, network.logits)
    return [round(sum(p.numel() for p in part.parameters()) / 1e6, 2) for part in parts]


def test_the_original_has_its_parameter_count() -> None:
    made = ModelSpec((300, 300), tuple(map(str, range(20))), original_feature_maps((300, 300)))
    config = ModelConfig(
        feature_location='block',
        pyramid='plain',
        extra_layers='plain',
        extra_channels=(256, 256, 128),
        head='plain',
        head_channels=128,
    )
    assert counts(build_model(made, config)) == [2.22, 3.83, 2.56, 3.43]


@pytest.mark.parametrize(
    'strides', [(8,), (16,), (4, 8), (8, 16), (16, 32, 64), (8, 32), (8, 16, 32, 64, 128)]
)
def test_levels_of_other_strides(strides: tuple[int, ...]) -> None:
    size = (96, 120)
    build_model(ModelSpec(size, ('a',), doubled(size, strides)), ModelConfig(pyramid_channels=8))


@pytest.mark.parametrize('strides', [(2, 4, 8), (64, 128), (8, 24)])
def test_unavailable_strides_are_refused(strides: tuple[int, ...]) -> None:
    made = ModelSpec((96, 120), ('a',), doubled((96, 120), strides))
    with pytest.raises(ConfigError, match=r'priors\.strides'):
        build_model(made, ModelConfig(pyramid_channels=8))


def test_impossible_grids_are_refused() -> None:
    for strides in ((8, 16, 32, 128), (8, 64)):
        made = ModelSpec((256, 256), ('a',), doubled((256, 256), strides))
        with pytest.raises(
            ConfigError,
            match=r'input.size, .* priors.strides: expected grids of .*32 x 32, .* 256 x 256,',
        ):
            build_model(made, ModelConfig(pyramid_channels=8))


def test_contradicting_keys_are_refused(spec: ModelSpec) -> None:
    with pytest.raises(
        ConfigError, match=r'model\.shared_head: .*\[2, 1, 1\]; see priors.priors_per_cell'
    ):
        build_model(spec, ModelConfig(shared_head=True))
    with pytest.raises(ConfigError, match=r'model\.extra_channels: .* 3 levels .*\[9\]'):
        made = ModelSpec((300, 300), ('a',), original_feature_maps((300, 300)))
        build_model(made, ModelConfig(pyramid='plain', extra_channels=(9,)))
    with pytest.raises(ConfigError, match=r'model\.frozen_blocks: expected 0 to 19, got 20'):
        build_model(spec, ModelConfig(frozen_blocks=20))


def test_the_network_normalises_its_input(spec: ModelSpec, model: MobileNetSsd) -> None:
    image = torch.randint(0, 256, (1, *spec.input_size, 3), dtype=torch.uint8)
    seen: list[torch.Tensor] = []
    hook = model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model(image)
    hook.remove()
    expected = (image.numpy()[0] / 255 - Normalisation().mean) / Normalisation().std
    np.testing.assert_allclose(seen[0][0].permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_state_dict_keys_are_stable(spec: ModelSpec) -> None:
    """Checkpoints hold them."""
    network = build_model(
        replace(spec, feature_maps=doubled((96, 120), (8, 16, 32, 64))), ModelConfig()
    )
    names = {name.rpartition('.')[0] for name in network.state_dict()}
    heads = [
        f'{head}.levels.{level}.{layer}'
        for head in ('logits', 'offsets')
        for level in range(4)
        for layer in ('0.depthwise', '0.depthwise_norm', '0.pointwise', '0.pointwise_norm', '1')
    ]
    smooth = [
        f'pyramid.{part}.{layer}'
        for part in ('smooth.0', 'smooth.1', 'smooth.2', 'extra.0')
        for layer in ('depthwise', 'depthwise_norm', 'pointwise', 'pointwise_norm')
    ]
    lateral = [f'pyramid.lateral.{i}.{layer}' for i in range(3) for layer in ('pointwise', 'norm')]
    backbone = [name for name in names if name.startswith('backbone.features.')]
    assert len(backbone) == 104
    assert names == {*heads, *smooth, *lateral, *backbone}


def test_grids_are_checked_at_any_input_size(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build_model(spec, ModelConfig(pyramid_channels=8)).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for size in ((64, 96), (97, 131)):
        check_grids(network, resize_spec(spec, size))
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    with pytest.raises(ConfigError, match='expected grids of .* for an input of 64 x 96, the'):
        check_grids(network, replace(spec, input_size=(64, 96)))

    def refuse(_: torch.Tensor) -> None:
        raise AssertionError('height 64 must be 224')

    monkeypatch.setattr(network.backbone, 'forward', refuse)
    message = 'cannot process an input of 64 x 96: height 64 must be 224'
    with pytest.raises(ConfigError, match=message):
        check_grids(network, resize_spec(spec, (64, 96)))
    assert network.training
