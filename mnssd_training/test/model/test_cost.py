"""What a network costs, against counts by hand and published figures."""

import copy

from mnssd_perception.ssd import feature_map, ModelSpec
from mnssd_training.config import ModelConfig
from mnssd_training.model import build_model, MobileNetSsd
from mnssd_training.model.cost import estimate_cost
from mnssd_training.model.fake_quantization import add_fake_quantization
import pytest
import torch


@pytest.fixture(scope='module')
def published() -> ModelSpec:
    """MobileNetV2-SSDLite over strides 8 to 256 as it is measured elsewhere: 3.27 M, 0.64 GMAC."""
    size = (300, 300)
    levels = tuple(feature_map(size, 8 * 2**i, ((9.0, 9.0),) * 6) for i in range(6))
    return ModelSpec(size, tuple(map(str, range(20))), levels)


LITE = ModelConfig(
    feature_location='block', pyramid='plain', extra_layers='depthwise', head='ssdlite'
)


def test_cost_equals_published_figures(published: ModelSpec) -> None:
    cost = estimate_cost(build_model(published, LITE), 1)
    assert cost.parameters == cost.trainable
    assert cost.parameters / 1e6 == pytest.approx(3.27, abs=0.005)
    assert cost.macs / 1e9 == pytest.approx(0.64, abs=0.005)
    assert str(cost).startswith(
        'network: 3.27 M parameters (3.27 M trained), 0.64 GMAC at 300 x 300\n'
    )


SIZE = (32, 48)
CELLS = 4 * 6


@pytest.fixture
def small() -> MobileNetSsd:
    """A network of one level of ten channels."""
    made = ModelSpec(SIZE, ('a',), (feature_map(SIZE, 8, ((9.0, 9.0),)),))
    return build_model(made, ModelConfig(pyramid_channels=10, frozen_blocks=8))


def test_macs_equal_calculation_by_hand(small: MobileNetSsd) -> None:
    cost = estimate_cost(small, 1).macs
    seen = []

    def count(layer: torch.nn.Conv2d, _: object, y: torch.Tensor) -> None:
        seen.append(y[0].numel() * layer.weight[0].numel())

    for layer in small.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)
    small(torch.zeros(1, *SIZE, 3, dtype=torch.uint8))
    assert cost == sum(seen)
    # A head: 3 x 3 in depth and 1 x 1 on ten channels, then two logits or four offsets.
    assert sum(seen[-6:]) == CELLS * 10 * (2 * (9 + 10) + 2 + 4)


def test_activation_bytes_equal_calculation_by_hand(small: MobileNetSsd) -> None:
    lateral = 192 + 10 + 10  # the tap, normalised after a convolution, into the next one
    block = 2 * (10 + 10 + 10)  # twice: normalised, activated (which keeps both ends)
    statistics = 2 * 10 * (1 + 2 * 3)  # mean and deviation of each normalisation
    expected = 4 * (CELLS * (lateral + 3 * block) + statistics)
    assert estimate_cost(small, 1).activation_bytes == expected
    assert estimate_cost(small, 3).activation_bytes == 3 * expected


def test_cost_depends_on_input_size_and_moments(small: MobileNetSsd) -> None:
    whole, larger = estimate_cost(small, 1), estimate_cost(small, 1, (64, 96), num_moments=1)
    assert larger.macs == whole.macs
    assert larger.activation_bytes == pytest.approx(4 * whole.activation_bytes, rel=0.05)
    assert whole.trainable < whole.parameters
    assert whole.state_bytes == 4 * (2 * whole.parameters + 3 * whole.trainable)
    assert larger.state_bytes == 4 * (2 * whole.parameters + 2 * whole.trainable)


def test_checkpointing_keeps_fewer_activations(small: MobileNetSsd) -> None:
    small.requires_grad_(True)
    small.backbone.freeze(0, norm=False)
    whole = estimate_cost(small, 1)
    small.backbone.checkpointing = True
    assert estimate_cost(small, 1).activation_bytes < whole.activation_bytes / 2


def test_the_model_is_not_changed(small: MobileNetSsd) -> None:
    small.train()
    before = {key: value.clone() for key, value in small.state_dict().items()}
    estimate_cost(small, 2)
    assert small.training
    assert all(torch.equal(value, before[key]) for key, value in small.state_dict().items())
    assert all(p.grad is None for p in small.parameters())


def test_rounding_does_not_count(model: MobileNetSsd) -> None:
    expected = str(estimate_cost(model, 2)).partition('\n')[0]
    quantized = copy.deepcopy(model)
    add_fake_quantization(quantized, 8, 0.01)
    assert str(estimate_cost(quantized, 2)).partition('\n')[0] == expected
