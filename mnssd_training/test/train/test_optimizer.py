"""Learning rates and weight decay of the parameter groups."""

from collections.abc import Callable
from typing import Any

from mnssd_training.config import Experiment
from mnssd_training.model import MobileNetSsd
from mnssd_training.train.distributed import make_fabric
from mnssd_training.train.optimizer import make_optimizer, set_learning_rate
from mnssd_training.train.state import TrainState
import pytest
import torch

Make = Callable[..., Experiment]


def network_of(experiment: Experiment) -> MobileNetSsd:
    return TrainState(make_fabric(experiment.training), experiment).network


def groups_by_name(
    model: MobileNetSsd, optimizer: torch.optim.Optimizer
) -> dict[str, dict[str, Any]]:
    """Find the group of each weight by name."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = [(p, group) for group in optimizer.param_groups for p in group['params']]
    assert len({p for p, _ in groups}) == len(groups)
    return {names[p]: group for p, group in groups}


def test_frozen_parameters_are_in_no_group(tiny: Make) -> None:
    wanted = tiny(**{'model.frozen_blocks': 4})
    model = network_of(wanted)
    found = groups_by_name(model, make_optimizer(model, wanted))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert set(found) == trained
    assert len(trained) < len(list(model.parameters()))


def test_only_convolution_weights_decay(tiny: Make) -> None:
    wanted = tiny()
    model = network_of(wanted)
    for name, group in groups_by_name(model, make_optimizer(model, wanted)).items():
        decays = dict(model.named_parameters())[name].ndim > 1
        assert group['weight_decay'] == (wanted.optimizer.weight_decay if decays else 0.0)
        assert group['factor'] == 1.0  # nothing is pretrained


def test_pretrained_backbone_has_lower_learning_rates(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = tiny(**{'optimizer.backbone_lr_factor': 0.5, 'optimizer.layer_decay': 0.9})
    model = network_of(wanted)
    given = wanted.initial.model_copy(update={'backbone_weights': 'imagenet'})
    pretrained = wanted.model_copy(update={'initial': given})
    optimizer = make_optimizer(model, pretrained)
    found = groups_by_name(model, optimizer)
    blocks = model.backbone.blocks()
    for age, block in enumerate(reversed(blocks)):
        for parameter in block.parameters():
            name = next(n for n, p in model.named_parameters() if p is parameter)
            assert found[name]['factor'] == pytest.approx(0.5 * 0.9**age)
    others = [group for name, group in found.items() if not name.startswith('backbone')]
    assert others
    assert {group['factor'] for group in others} == {1.0}
    set_learning_rate(optimizer.param_groups, 0.1)
    assert {group['lr'] for group in others} == {0.1}
    assert min(group['lr'] for group in found.values()) == pytest.approx(
        0.1 * 0.5 * 0.9 ** (len(blocks) - 1)
    )


@pytest.mark.parametrize(
    ('changes', 'kind'),
    [
        ({}, torch.optim.AdamW),
        ({'optimizer.name': 'sgd', 'optimizer.nesterov': 'true'}, torch.optim.SGD),
    ],
    ids=['adamw', 'sgd'],
)
def test_optimizer_is_the_configured_one(tiny: Make, changes: dict[str, str], kind: type) -> None:
    wanted = tiny(**changes)
    optimizer = make_optimizer(network_of(wanted), wanted)
    assert isinstance(optimizer, kind)
    groups: list[dict[str, Any]] = optimizer.param_groups  # type: ignore[attr-defined]
    if kind is torch.optim.SGD:
        assert all(group['momentum'] == 0.9 and group['nesterov'] for group in groups)
    else:
        assert all(group['betas'] == (0.9, 0.999) for group in groups)
