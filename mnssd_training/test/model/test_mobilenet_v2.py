"""MobileNetV2's taps and its ImageNet weights."""

from pathlib import Path

from mnssd_training.errors import CheckpointError
from mnssd_training.model.backbone import Backbone, NUM_BLOCKS
import pytest
import torch
from torchvision.models import mobilenet_v2


@pytest.fixture(scope='module')
def backbone() -> Backbone:
    torch.manual_seed(0)
    return Backbone().eval()


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of torchvision's network, as its authors publish it."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp('weights') / 'mobilenet_v2.pth'
    torch.save(mobilenet_v2(weights=None).state_dict(), path)
    return path


@pytest.mark.parametrize('size', [(320, 400), (96, 120), (33, 65)])
def test_taps_have_stride_8_16_and_32(backbone: Backbone, size: tuple[int, int]) -> None:
    with torch.no_grad():
        taps = backbone(torch.zeros(2, 3, *size))
    for tap, stride, channels in zip(taps, (8, 16, 32), Backbone.channels, strict=True):
        assert tap.shape == (2, channels, *(-(-side // stride) for side in size))


def test_the_last_tap_is_that_of_torchvision(backbone: Backbone) -> None:
    original = mobilenet_v2(weights=None).eval()
    original.features.load_state_dict(backbone.features.state_dict())
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(backbone(x)[-1], original.features(x))
    assert len(original.features) == NUM_BLOCKS


def test_weights_are_loaded_from_a_file(weights: Path) -> None:
    backbone = Backbone()
    backbone.load_imagenet(str(weights))
    state = torch.load(weights, weights_only=True)
    for key, value in backbone.features.state_dict().items():
        assert torch.equal(value, state[f'features.{key}'])


def test_the_shared_weights_fit(shared: Path) -> None:
    path = next((shared / 'data' / 'weights').glob('*.pth'))
    Backbone().load_imagenet(str(path))


def test_weights_that_are_none(tmp_path: Path, weights: Path) -> None:
    def error(path: Path) -> str:
        with pytest.raises(CheckpointError) as caught:
            Backbone().load_imagenet(str(path))
        assert '\n' not in str(caught.value)
        return str(caught.value)

    path = tmp_path / 'weights.pth'
    assert 'no such file' in error(path)
    assert 'cannot be fetched or read' in error(tmp_path)
    path.write_bytes(b'rubbish')
    assert 'expected a state dict' in error(path)
    path.write_bytes(weights.read_bytes()[:100_000])
    assert 'expected a state dict' in error(path)
    for content in (torch.zeros(3), [1], {'features.0.0.weight': torch.zeros(1)}, {}):
        torch.save(content, path)
        assert 'expected a state dict' in error(path)


def test_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError('no network')

    monkeypatch.setattr('mnssd_training.model.backbone._imagenet_state', offline)
    with pytest.raises(
        CheckpointError, match='cannot be fetched or read: no network; name a file'
    ):
        Backbone().load_imagenet('imagenet')


def test_frozen_blocks_keep_weights_and_statistics() -> None:
    torch.manual_seed(0)
    backbone = Backbone(frozen_blocks=4).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.1)
    sum(tap.mean() for tap in backbone(torch.rand(2, 3, 64, 64))).backward()
    optimizer.step()
    for key, value in backbone.state_dict().items():
        frozen = int(key.split('.')[1]) < 4
        assert torch.equal(value, before[key]) or not frozen, key
    changed = [k for k, v in backbone.state_dict().items() if not torch.equal(v, before[k])]
    assert {int(key.split('.')[1]) for key in changed} == set(range(4, NUM_BLOCKS))
    assert backbone.training
    assert not backbone.features[0].training
    assert not backbone.eval().features[5].training
