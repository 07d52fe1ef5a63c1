"""Weights recovered from an exported network: the same function, trainable."""

import copy

import cv2
from mnssd_perception.ssd import feature_map, ModelSpec
from mnssd_training.config import ModelConfig
from mnssd_training.data import load_image, Sample
from mnssd_training.errors import CheckpointError
from mnssd_training.export import export_onnx
from mnssd_training.model import build_model, MobileNetSsd
from mnssd_training.model.onnx_weights import recover_weights, unfold_batch_norms
import pytest
import torch
from torch import nn


@pytest.fixture(scope='module')
def images(val_samples: list[Sample], spec: ModelSpec) -> torch.Tensor:
    """Real images in the size of the network."""
    size = spec.input_size[::-1]
    return torch.stack(
        [torch.from_numpy(cv2.resize(load_image(sample), size)) for sample in val_samples]
    )


def difference(one: nn.Module, other: nn.Module, images: torch.Tensor) -> float:
    """Measure the largest difference of raw heads."""
    with torch.inference_mode():
        pairs = zip(one(images), other(images))
        return max(float((a - b).abs().max()) for a, b in pairs)


def recovered(model: MobileNetSsd, config: ModelConfig, network: bytes) -> MobileNetSsd:
    torch.manual_seed(1)
    other = build_model(model.spec, config)
    other.load_state_dict(recover_weights(other, network))
    return other


def test_recovered_network_computes_the_same(
    model: MobileNetSsd, exported: bytes, images: torch.Tensor
) -> None:
    other = recovered(model, ModelConfig(pyramid_channels=32), exported)
    assert difference(model, other, images) < 1e-3
    before = copy.deepcopy(other)
    unfold_batch_norms(other, images.split(1))
    assert difference(before, other, images) < 1e-3


def test_unfolded_batch_norms_have_the_statistics_of_images(
    model: MobileNetSsd, exported: bytes, images: torch.Tensor
) -> None:
    """In training mode, on the same images, the network computes what it does in evaluation."""
    other = recovered(model, ModelConfig(pyramid_channels=32), exported)
    folded = difference(model, copy.deepcopy(other).train(), images)
    unfold_batch_norms(other, images.split(1))
    measured = difference(model, copy.deepcopy(other).train(), images)
    assert measured < 1e-2
    assert folded > 100 * measured


def test_unfolding_without_batch_norms(images: torch.Tensor) -> None:
    unfold_batch_norms(nn.Identity(), images.split(1))


@pytest.mark.parametrize(
    'keys',
    [
        {'shared_head': True},
        {
            'pyramid': 'plain',
            'extra_layers': 'depthwise',
            'extra_channels': (32,),
            'head': 'plain',
            'head_channels': 8,
            'feature_location': 'block',
        },
    ],
)
def test_other_architectures_are_recovered(keys: dict[str, object], images: torch.Tensor) -> None:
    size = images.shape[1:3]
    levels = tuple(feature_map(size, stride, ((2.0 * stride,) * 2,)) for stride in (8, 16, 32, 64))
    spec = ModelSpec((size[0], size[1]), ('a', 'b'), levels)
    config = ModelConfig.model_validate({'width_mult': 0.25, 'pyramid_channels': 16, **keys})
    torch.manual_seed(3)
    model = build_model(spec, config)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.uniform_(-0.3, 0.3)
                layer.running_var.uniform_(0.5, 1.5)
                layer.bias.uniform_(-0.2, 0.5)
    other = recovered(model, config, export_onnx(model))
    assert difference(model, other, images) < 1e-3


@pytest.mark.parametrize('network', [b'garbage', b'\x3a\x7f'])
def test_a_damaged_file_is_refused(model: MobileNetSsd, network: bytes) -> None:
    with pytest.raises(CheckpointError, match='expected an ONNX network with whole tensors: '):
        recover_weights(model, network)


@pytest.mark.parametrize(
    'keys', [{'pyramid_channels': 16}, {'pyramid': 'lateral', 'pyramid_channels': 32}]
)
def test_the_file_of_another_network_is_refused(
    spec: ModelSpec, exported: bytes, keys: dict[str, object]
) -> None:
    other = build_model(spec, ModelConfig.model_validate({**keys, 'head': 'ssdlite'}))
    with pytest.raises(CheckpointError, match='lacks a layer|expected the shape'):
        recover_weights(other, exported)
