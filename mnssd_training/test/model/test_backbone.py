"""Freezing and gradient checkpointing of all backbones."""

from collections.abc import Callable
import copy
from typing import Any

from mnssd_training.errors import ConfigError
from mnssd_training.model.backbone import Backbone, select_strides
from mnssd_training.model.mobilenet_v2 import MobileNetV2
from mnssd_training.model.norm import is_norm
from mnssd_training.model.timm_backbone import TimmBackbone
import pytest
import torch

MAKERS: dict[str, Callable[[], Backbone]] = {
    'mobilenet_v2': lambda: MobileNetV2(width_mult=0.35),
    'mobilenet_v2 block': lambda: MobileNetV2(width_mult=0.35, feature_location='block'),
    'timm list': lambda: TimmBackbone('test_resnet', (8, 16, 32)),
    'timm own': lambda: TimmBackbone('mobilenetv3_small_050', (8, 16, 32)),
}


@pytest.fixture(params=sorted(MAKERS))
def backbone(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    made = MAKERS[request.param]()
    made.freeze(0, norm=False)
    return made


def state(backbone: Backbone) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in backbone.state_dict().items()}


def step(backbone: Backbone, seed: int = 0) -> dict[str, Any]:
    """Do a training step and return the gradients."""
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.1)
    optimizer.zero_grad()
    sum((tap * tap.detach().cos()).mean() for tap in backbone(x)).backward()
    gradients = {key: p.grad for key, p in backbone.named_parameters() if p.grad is not None}
    optimizer.step()
    return gradients


def test_frozen_blocks_keep_weights_and_statistics(backbone: Backbone) -> None:
    blocks = backbone.blocks()
    backbone.freeze(3, norm=False)
    backbone.train()
    own = {
        id(tensor) for block in blocks[:3] for tensor in block.state_dict(keep_vars=True).values()
    }
    before, names = state(backbone), set()
    for key, tensor in backbone.state_dict(keep_vars=True).items():
        names |= {key} if id(tensor) in own else set()
    step(backbone)
    after = state(backbone)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert names
    assert changed
    assert not changed & names
    assert all(p.requires_grad == (id(p) not in own) for p in backbone.parameters())
    assert backbone.training
    assert not any(module.training for block in blocks[:3] for module in block.modules())
    assert not any(module.training for module in backbone.eval().modules())


def test_frozen_norms_keep_weights_and_statistics(backbone: Backbone) -> None:
    backbone.freeze(0, norm=True)
    backbone.train()
    before = state(backbone)
    step(backbone)
    after = state(backbone)
    norms = {name for name, module in backbone.named_modules() if is_norm(module)}
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert norms
    assert changed
    assert not {key for key in changed if key.rpartition('.')[0] in norms}
    for name, parameter in backbone.named_parameters():
        assert parameter.requires_grad == (name.rpartition('.')[0] not in norms), name


def test_too_many_frozen_blocks_are_refused(backbone: Backbone) -> None:
    total = len(backbone.blocks())
    backbone.freeze(total, norm=False)
    assert not any(p.requires_grad for p in backbone.parameters())
    with pytest.raises(ConfigError, match=rf'model.frozen_blocks: expected 0 to {total}, got 99'):
        backbone.freeze(99, norm=False)


def test_blocks_hold_all_weights_in_order(backbone: Backbone) -> None:
    actual = [id(p) for block in backbone.blocks() for p in block.parameters()]
    assert actual == [id(p) for p in backbone.parameters()]


@pytest.mark.parametrize('frozen', [0, 3])
def test_checkpointing_changes_no_gradient_and_saves_memory(
    backbone: Backbone, frozen: int
) -> None:
    backbone.freeze(frozen, norm=False)
    backbone.train()
    start = state(backbone)
    expected = [step(backbone, seed) for seed in range(2)]
    end = state(backbone)
    backbone.load_state_dict(start)
    kept = [0, 0]
    for index, checkpointing in enumerate((True, False)):
        backbone.load_state_dict(start)
        backbone.checkpointing = checkpointing

        def count(tensor: torch.Tensor, index: int = index) -> torch.Tensor:
            kept[index] += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            actual = [step(backbone, seed) for seed in range(2)]
        for one, other in zip(actual, expected, strict=True):
            assert one.keys() == other.keys()
            assert all(torch.equal(one[key], other[key]) for key in one)
        assert all(torch.equal(value, end[key]) for key, value in backbone.state_dict().items())
    assert kept[0] < kept[1] / 2


def test_a_copy_checkpoints_its_own_blocks(backbone: Backbone) -> None:
    backbone.train()
    backbone.checkpointing = True
    before = state(backbone)
    other = copy.deepcopy(backbone)
    assert step(other)
    assert all(p.grad is None for p in backbone.parameters())
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


def test_strides_are_selected_from_those_available() -> None:
    assert select_strides((8, 16, 32, 64), (4, 8, 16, 32), 'x') == [8, 16, 32]
    assert select_strides((16, 32), (2, 4, 8, 16, 32), 'x') == [16, 32]
    assert select_strides((8,), (4, 8), 'x') == [8]
    for expected in ((), (2, 4), (8, 12, 16), (64,)):
        with pytest.raises(ConfigError, match=r'priors.layout, priors.strides: .* 4, 8, 16, 32$'):
            select_strides(expected, (4, 8, 16, 32), 'x')
