"""The feature maps, widths and ImageNet weights of MobileNetV2."""

from pathlib import Path
from typing import Literal

from mnssd_training.errors import CheckpointError, ConfigError
from mnssd_training.model.mobilenet_v2 import MobileNetV2
import pytest
import torch
from torchvision.models import mobilenet_v2, MobileNet_V2_Weights


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of torchvision's network, as its authors publish it."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp('weights') / 'mobilenet_v2.pth'
    torch.save(mobilenet_v2(weights=None).state_dict(), path)
    return path


@pytest.mark.parametrize(
    ('location', 'channels'), [('expansion', (144, 192, 576, 1280)), ('block', (24, 32, 96, 1280))]
)
def test_feature_maps_have_their_strides(
    location: Literal['expansion', 'block'], channels: tuple[int, ...]
) -> None:
    backbone = MobileNetV2((4, 8, 16, 32, 64), feature_location=location).eval()
    assert backbone.channels == channels
    for size in ((96, 120), (33, 65)):
        with torch.no_grad():
            maps = backbone(torch.zeros(2, 3, *size))
        for feature_map, stride, width in zip(maps, (4, 8, 16, 32), channels, strict=True):
            assert feature_map.shape == (2, width, *(-(-side // stride) for side in size))


def test_feature_maps_equal_those_of_torchvision() -> None:
    torch.manual_seed(0)
    backbone = MobileNetV2(feature_location='block').eval()
    original = mobilenet_v2(weights=None).eval()
    original.features.load_state_dict(backbone.features.state_dict())
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        actual = backbone(x)
        for index, block in enumerate(original.features):
            x = block(x)
            if index in (6, 13, 18):
                assert torch.equal(actual.pop(0), x)
    assert not actual
    assert len(original.features) == len(backbone.blocks())


def test_unused_layers_are_cut_off() -> None:
    for location in ('expansion', 'block'):
        backbone = MobileNetV2((8, 16), feature_location=location).train()
        sum(x.mean() for x in backbone(torch.rand(2, 3, 32, 32))).backward()
        assert all(p.grad is not None for p in backbone.parameters())
        assert len(backbone.blocks()) == (15 if location == 'expansion' else 14)


@pytest.mark.parametrize('width', [0.35, 0.5, 1.4])
def test_width_mult_scales_the_channels(width: float) -> None:
    backbone = MobileNetV2((16, 32), width, 'block')
    assert backbone.channels == (int(96 * width / 8 + 0.5) * 8, max(1280, int(1280 * width)))


@pytest.mark.parametrize('strides', [(2, 4, 8), (8, 24), (64, 128)])
def test_unavailable_strides_are_refused(strides: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r'priors.strides: .*mobilenet_v2.*4, 8, 16, 32$'):
        MobileNetV2(strides)


def test_weights_are_loaded_from_a_file(weights: Path) -> None:
    state = torch.load(weights, weights_only=True)
    for backbone in (MobileNetV2(), MobileNetV2((8,))):
        backbone.load_weights(str(weights))
        for key, value in backbone.features.state_dict().items():
            assert torch.equal(value, state[f'features.{key}'])


def test_imagenet_weights_in_shared_fit(shared: Path) -> None:
    path = next((shared / 'data' / 'weights').glob('*.pth'))
    MobileNetV2().load_weights(str(path))


def test_unusable_weights_are_refused(tmp_path: Path, weights: Path) -> None:
    def error(path: Path, width: float = 1.0) -> str:
        with pytest.raises(CheckpointError) as caught:
            MobileNetV2(width_mult=width).load_weights(str(path))
        assert '\n' not in str(caught.value)
        return str(caught.value)

    path = tmp_path / 'weights.pth'
    assert 'no such file' in error(path)
    assert 'cannot be fetched or read' in error(tmp_path)
    assert 'model.width_mult' in error(weights, 0.5)
    path.write_bytes(b'rubbish')
    assert 'not a file of torch' in error(path)
    path.write_bytes(weights.read_bytes()[:100_000])
    assert 'damaged: cut short' in error(path)
    flipped = bytearray(weights.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    path.write_bytes(flipped)
    assert 'damaged: the CRC-32 of ' in error(path)
    for content in (torch.zeros(3), [1], {'features.0.0.weight': torch.zeros(1)}, {}):
        torch.save(content, path)
        assert 'expected a state dict' in error(path)


def test_failed_download_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError('no network')

    monkeypatch.setattr(MobileNet_V2_Weights.IMAGENET1K_V2.__class__, 'get_state_dict', offline)
    with pytest.raises(
        CheckpointError, match='cannot be fetched or read: no network; name a file'
    ):
        MobileNetV2().load_weights('imagenet')
