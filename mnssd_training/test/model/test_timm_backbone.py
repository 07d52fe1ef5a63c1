"""Backbones of timm: which there are, what they return and where their weights come from."""

from pathlib import Path
import sys

from mnssd_perception.engines import EngineOptions
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
from mnssd_perception.ssd import feature_map, ModelSpec, RawHeads
from mnssd_training.config import ModelConfig
from mnssd_training.errors import CheckpointError, ConfigError
from mnssd_training.export import export_onnx
from mnssd_training.model import build_model, MobileNetSsd, TorchEngine
import numpy as np
import pytest
import torch

timm = pytest.importorskip('timm')
TimmBackbone = pytest.importorskip('mnssd_training.model.timm_backbone').TimmBackbone


@pytest.mark.parametrize('name', ['test_resnet', 'mobilenetv3_small_050', 'test_byobnet'])
def test_feature_maps_have_the_requested_strides(name: str) -> None:
    backbone = TimmBackbone(name, (8, 16, 32, 64)).eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 96, 120))
    shapes = [(backbone.channels[i], -(-96 // s), -(-120 // s)) for i, s in enumerate((8, 16, 32))]
    assert [tuple(x.shape[1:]) for x in maps] == shapes


@pytest.mark.parametrize(
    ('name', 'padded'),
    [('convnext_atto', 32), ('focalnet_tiny_srf', 32), ('dla34', 32), ('test_resnet', 1)],
)
def test_grids_are_rounded_up_for_every_backbone(name: str, padded: int) -> None:
    with torch.device('meta'):
        backbone = TimmBackbone(name, (8, 16, 32)).eval()
        for height, width in ((64, 96), (100, 132), (33, 65), (97, 31)):
            maps = backbone(torch.zeros(1, 3, height, width))
            expected = [(-(-height // stride), -(-width // stride)) for stride in (8, 16, 32)]
            assert [tuple(x.shape[-2:]) for x in maps] == expected
    assert backbone._multiple == padded


def test_only_indivisible_sides_are_padded() -> None:
    torch.manual_seed(0)
    backbone = TimmBackbone('convnext_atto', (8, 16)).eval()
    x = torch.rand(1, 3, 48, 64)
    with torch.no_grad():
        for actual, expected in zip(backbone(x), backbone.body(x), strict=True):
            assert torch.equal(actual, expected)
        padded = torch.cat([x[..., :40], torch.zeros(1, 3, 48, 8)], dim=-1)
        for actual, expected in zip(backbone(x[..., :40]), backbone.body(padded), strict=True):
            assert torch.equal(actual, expected[..., : actual.shape[-1]])


def test_a_backbone_of_a_fixed_size_is_built_for_the_padded_input() -> None:
    with torch.device('meta'):
        backbone = TimmBackbone('maxvit_tiny_tf_224', (8, 16, 32), (100, 120)).eval()
        maps = backbone(torch.zeros(1, 3, 100, 120))
    assert [tuple(x.shape[-2:]) for x in maps] == [(13, 15), (7, 8), (4, 4)]


def flown(model: MobileNetSsd, image: np.ndarray) -> RawHeads:
    """Run a network as the drone does, with all that it refuses."""
    network = export_onnx(model)
    engine = OnnxRuntimeEngine(model.spec, network, EngineOptions(threads=1))
    actual = engine.infer(image)
    engine.close()
    return RawHeads(actual.logits.copy(), actual.offsets.copy())


def test_a_network_with_a_backbone_that_rounds_down_is_exported() -> None:
    pytest.importorskip('onnxruntime')
    size = (50, 70)
    spec = ModelSpec(size, ('a',), (feature_map(size, 16, ((9.0, 9.0),)),))
    torch.manual_seed(0)
    model = build_model(spec, ModelConfig(backbone='timm/convnext_atto', pyramid_channels=8))
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    actual = flown(model, image)
    heads = TorchEngine(model).infer(image)
    assert len(heads.logits) == 4 * 5
    np.testing.assert_allclose(actual.logits, heads.logits, atol=1e-4)
    np.testing.assert_allclose(actual.offsets, heads.offsets, atol=1e-4)


def test_unused_layers_are_cut_off() -> None:
    whole, part = (TimmBackbone('test_resnet', strides) for strides in ((8, 16, 32), (8, 16)))
    assert part.channels == whole.channels[:2]
    assert len(part.blocks()) < len(whole.blocks())


def test_maps_with_channels_last_of_a_fixed_size() -> None:
    name = 'swin_tiny_patch4_window7_224'
    with torch.device('meta'):
        backbone = TimmBackbone(name, (8, 16, 32), (64, 96))
        maps = backbone(torch.zeros(1, 3, 64, 96))
    assert [tuple(x.shape[1:]) for x in maps] == [(192, 8, 12), (384, 4, 6), (768, 2, 3)]


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('test_vit', r'priors.strides: .* timm/test_vit makes feature maps of strides 16$'),
        (
            'mobilenetv3_smal_050',
            r"timm has no backbone '.*'; did you mean timm/mobilenetv3_small",
        ),
        ('zzzzzz', r"timm has no backbone 'zzzzzz'$"),
        ('resnet18.nobody', r'model.backbone: Invalid pretrained tag .*resnet18.a1_in1k'),
    ],
)
def test_unknown_backbones_are_refused_with_a_hint(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TimmBackbone(name, (8, 16, 32, 64))


def test_missing_timm_is_reported(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'timm', None)
    monkeypatch.delitem(sys.modules, 'mnssd_training.model.timm_backbone')
    with pytest.raises(ConfigError, match='needs timm; pip install timm'):
        build_model(spec, ModelConfig(backbone='timm/test_resnet'))


def trained(name: str, seed: int = 1) -> dict[str, torch.Tensor]:
    """Make the weights of a whole network, with its classifier."""
    torch.manual_seed(seed)
    return timm.create_model(name).state_dict()


@pytest.mark.parametrize('name', ['test_resnet', 'mobilenetv3_small_050', 'convnext_atto'])
def test_weights_are_loaded_from_a_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / 'weights.pth'
    torch.save(trained(name), path)
    backbone = TimmBackbone(name, (8, 16, 32)).eval()
    backbone.load_weights(str(path))
    torch.manual_seed(1)
    whole = timm.create_model(name).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = whole.forward_intermediates(x, intermediates_only=True)[-3:]
        for actual, other in zip(backbone(x), expected, strict=True):
            torch.testing.assert_close(actual, other)


def test_unusable_weights_are_refused(tmp_path: Path) -> None:
    backbone = TimmBackbone('test_resnet', (8, 16, 32))
    path = tmp_path / 'weights.pth'
    for source in (str(path), 'x' * 5000):  # the system refuses to look at the other
        with pytest.raises(CheckpointError, match='no such file'):
            backbone.load_weights(source)
    for content in (trained('test_byobnet'), [1], {}):
        torch.save(content, path)
        with pytest.raises(CheckpointError, match='expected a state dict of timm/test_resnet'):
            backbone.load_weights(str(path))
    path.write_bytes(b'rubbish')
    with pytest.raises(CheckpointError, match='expected a state dict of timm/test_resnet'):
        backbone.load_weights(str(path))
    torch.save(trained('test_resnet'), path)
    flipped = bytearray(path.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(CheckpointError, match='damaged: the CRC-32 of '):
        backbone.load_weights(str(path))


def test_weights_are_downloaded_by_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = TimmBackbone('test_resnet', (8, 16, 32))
    create = timm.create_model

    def fetch(name: str, pretrained: bool, **settings: object) -> torch.nn.Module:
        assert pretrained
        torch.manual_seed(5)
        return create(name, **settings)

    monkeypatch.setattr(timm, 'create_model', fetch)
    backbone.load_weights('imagenet')
    expected = fetch('test_resnet', True, **backbone._settings).state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in backbone.body.state_dict().items())

    def offline(*_: object, **__: object) -> None:
        raise OSError('no network')

    monkeypatch.setattr(timm, 'create_model', offline)
    with pytest.raises(CheckpointError, match='cannot be fetched: no network; name a file'):
        backbone.load_weights('imagenet')


def test_backbone_without_published_weights_is_refused() -> None:
    name = next(n for n in timm.list_models() if not timm.get_pretrained_cfg(n).has_weights)
    backbone = TimmBackbone('test_resnet', (8, 16, 32))
    backbone._name = name
    with pytest.raises(CheckpointError, match=f'timm has no weights of {name}'):
        backbone.load_weights('imagenet')


def test_the_exported_network_computes_the_same() -> None:
    pytest.importorskip('onnxruntime')
    size = (64, 96)
    levels = (feature_map(size, 16, ((9.0, 9.0),)),)
    torch.manual_seed(0)
    config = ModelConfig(backbone='timm/mobilenetv3_small_050', pyramid_channels=8)
    model = build_model(ModelSpec(size, ('a', 'b'), levels), config)
    for head in (model.logits, model.offsets):
        for layer in head.prediction_layers():
            torch.nn.init.normal_(layer.weight, std=100.0)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    actual = flown(model, image)
    heads = TorchEngine(model).infer(image)
    assert heads.offsets.std() > 0.1
    np.testing.assert_allclose(actual.logits, heads.logits, atol=1e-4)
    np.testing.assert_allclose(actual.offsets, heads.offsets, atol=1e-4)
