"""Simulated INT8 against its definition, and against ONNX Runtime's."""

import copy
from pathlib import Path
from typing import Any

from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.ssd import ModelSpec
from mnssd_training.config import ModelConfig, SourceConfig
from mnssd_training.data import read_samples
from mnssd_training.data.sample import load_image
from mnssd_training.model import build_model, MobileNetSsd, TorchEngine
from mnssd_training.model.fake_quantization import (
    ActivationQuantizer,
    add_fake_quantization,
    find_quantizers,
    QuantizedConv2d,
    share_bounds,
)
from mnssd_training.train.initial_weights import recover_model
import numpy as np
from numpy.typing import NDArray
import onnx
import pytest
import torch
from torch import nn


@pytest.fixture
def quantized(model: MobileNetSsd) -> MobileNetSsd:
    """The network of the fixture, which rounds, before it has seen an image."""
    network = copy.deepcopy(model)
    add_fake_quantization(network, 8, 0.01)
    return network


@pytest.fixture
def images(spec: ModelSpec) -> torch.Tensor:
    generator = np.random.default_rng(2)
    coarse = generator.integers(0, 256, (2, 6, 6, 3), np.uint8)
    height, width = spec.input_size
    return torch.from_numpy(coarse.repeat(height // 6, axis=1).repeat(width // 6, axis=2))


# --- activations -------------------------------------------------------------------------------


def test_zero_stays_zero() -> None:
    x = torch.zeros(1, 2, 3, 3)
    assert torch.equal(ActivationQuantizer(0.1)(x), x)


def test_activations_are_rounded_to_256_values_of_their_range() -> None:
    x = torch.linspace(-1, 3, 10_001)
    y = ActivationQuantizer(0.1)(x)
    assert len(y.unique()) == 256
    assert (y - x).abs().max() <= 4 / 255 / 2 + 1e-6
    assert 0 in y


def test_the_range_holds_zero_and_is_a_moving_average() -> None:
    quantizer = ActivationQuantizer(0.25)
    quantizer(torch.tensor([1.0, 4.0]))
    assert quantizer.bounds.tolist() == [0, 4]
    quantizer(torch.tensor([-2.0, 8.0]))
    assert quantizer.bounds.tolist() == [0.5, 5]
    quantizer.tracking = False
    assert quantizer(torch.tensor([100.0])) == pytest.approx(5, abs=5.5 / 255)
    assert quantizer.bounds.tolist() == [0.5, 5]


def test_gradients_pass_within_the_range_only() -> None:
    quantizer = ActivationQuantizer(0.1)
    quantizer(torch.tensor([-1.0, 1.0]))
    quantizer.tracking = False
    x = torch.tensor([-2.0, -0.5, 0.5, 2.0], requires_grad=True)
    quantizer(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 0]


# --- convolutions ------------------------------------------------------------------------------


def test_weights_are_rounded_by_output_channel() -> None:
    layer = nn.Conv2d(4, 3, 1)
    with torch.no_grad():
        layer.weight *= torch.tensor([1.0, 100.0, 0.0])[:, None, None, None]
    rounded = QuantizedConv2d(layer, 8, 0.1, is_last=False)
    rounded.input_quantizer = nn.Identity()  # type: ignore[assignment]
    weights = rounded(torch.eye(4)[..., None, None])[..., 0, 0].T - layer.bias[:, None]
    step = layer.weight.abs().amax(dim=(1, 2, 3)) / 127
    errors = (weights - layer.weight[..., 0, 0]).abs().amax(dim=1)
    assert (errors <= step / 2 + 1e-5).all()
    assert errors[0] > 0
    assert torch.equal(errors[2], torch.tensor(0.0))


def test_every_parameter_keeps_its_name_and_gets_a_gradient(
    model: MobileNetSsd, quantized: MobileNetSsd, images: torch.Tensor
) -> None:
    assert list(quantized.state_dict()) == list(model.state_dict())
    assert [name for name, _ in quantized.named_parameters()] == [
        name for name, _ in model.named_parameters()
    ]
    logits, offsets = quantized(images)
    (logits.square().sum() + offsets.square().sum()).backward()
    for name, parameter in quantized.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_all_convolutions_and_all_terms_of_sums_are_rounded(quantized: MobileNetSsd) -> None:
    convolutions = [m for m in quantized.modules() if isinstance(m, nn.Conv2d)]
    assert all(isinstance(layer, QuantizedConv2d) for layer in convolutions)
    last = [*quantized.logits.prediction_layers(), *quantized.offsets.prediction_layers()]
    assert all(
        (layer.output_quantizer is not None) == (layer in last)
        for layer in convolutions
        if isinstance(layer, QuantizedConv2d)
    )
    residual = [
        block for block in quantized.backbone.blocks() if getattr(block, 'use_res_connect', False)
    ]
    assert residual
    assert all(isinstance(block.conv[-1], ActivationQuantizer) for block in residual)


@pytest.mark.parametrize(
    'config',
    [
        ModelConfig(pyramid='plain', extra_layers='plain'),
        ModelConfig(pyramid='lateral', head='plain', pyramid_channels=16),
        ModelConfig(backbone='timm/mobilenetv3_small_050', pyramid_channels=16),
    ],
    ids=['plain', 'lateral', 'timm'],
)
def test_other_networks_round_and_learn(
    spec: ModelSpec, config: ModelConfig, images: torch.Tensor
) -> None:
    network = build_model(spec, config)
    expected = network(images)[0]
    add_fake_quantization(network, 8, 0.1)
    logits, _ = network.train()(images)
    logits.sum().backward()
    assert not torch.equal(network.eval()(images)[0], expected)
    assert all(layer.bounds.isfinite().all() for layer in find_quantizers(network).values())


def test_a_copy_follows_the_ranges(quantized: MobileNetSsd, images: torch.Tensor) -> None:
    average = copy.deepcopy(quantized)
    share_bounds(quantized, average)
    quantized(images)
    before = {name: layer.bounds.clone() for name, layer in find_quantizers(quantized).items()}
    average(255 - images)
    for name, layer in find_quantizers(average).items():
        assert torch.equal(layer.bounds, before[name]), name
        assert layer.bounds is find_quantizers(quantized)[name].bounds


# --- against ONNX Runtime ----------------------------------------------------------------------


def quantize(network: bytes, name: str, images: NDArray[Any], folder: Path) -> bytes:
    """Quantise with the settings of the export for CPUs."""
    from onnxruntime import quantization

    feeds = iter([{name: image} for image in images])

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(feeds, None)

    (folder / 'network.onnx').write_bytes(network)
    quantization.quantize_static(
        folder / 'network.onnx',
        folder / 'quantized.onnx',
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    return (folder / 'quantized.onnx').read_bytes()


def run(network: bytes, name: str, image: NDArray[Any]) -> list[NDArray[np.float32]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(network, options, providers=['CPUExecutionProvider'])
    return list(session.run(None, {name: image}))


def test_a_convolution_rounds_like_a_quantised_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 4, 3, padding=1)
    x = torch.randn(1, 8, 10, 10)
    helper, shape = onnx.helper, [1, 8, 10, 10]
    tensors = [
        onnx.numpy_helper.from_array(value.detach().numpy(), name)
        for name, value in layer.named_parameters()
    ]
    graph = helper.make_graph(
        [helper.make_node('Conv', ['x', 'weight', 'bias'], ['y'], name='c', pads=[1] * 4)],
        'one',
        [helper.make_tensor_value_info('x', onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info('y', onnx.TensorProto.FLOAT, [1, 4, 10, 10])],
        tensors,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)
    network = quantize(proto.SerializeToString(), 'x', x[None].numpy(), tmp_path)
    (expected,) = run(network, 'x', x.numpy())
    rounded = QuantizedConv2d(layer, 8, 0.1, is_last=True)
    with torch.no_grad():
        error = (layer(x) - torch.from_numpy(expected)).abs().mean()
        y = rounded(x).numpy()
    step = float(rounded.output_quantizer.bounds.sum()) / 255  # type: ignore[union-attr]
    assert np.abs(y - expected).max() <= 1.01 * step
    assert np.abs(y - expected).mean() < 0.2 * error


@pytest.mark.slow
def test_a_trained_network_rounds_like_the_quantised_one(hit_uav: Path, tmp_path: Path) -> None:
    path = shipped_bundle_path()
    model = recover_model(str(path))
    quantized = copy.deepcopy(model)
    add_fake_quantization(quantized, 8, 0.01)
    samples = read_samples(SourceConfig(root=str(hit_uav)), 'val')[:2]
    images = np.stack([load_image(sample) for sample in samples])
    network = quantize(open_bundle(path).read('network.onnx'), 'image', images, tmp_path)
    with torch.no_grad():
        quantized(torch.from_numpy(images))  # both measure the ranges on these images
    for image in images:
        expected = run(network, 'image', image)
        rounded, plain = TorchEngine(quantized).infer(image), TorchEngine(model).infer(image)
        # Rounding errors of activations differ, because each depends on all before it.
        for name, head in zip(('logits', 'offsets'), expected):
            error = np.abs(getattr(plain, name) - head).mean()
            assert np.abs(getattr(rounded, name) - head).mean() < 0.8 * error, name
