"""The moving average of a network."""

import copy

from mnssd_training.train.ema import Ema
import pytest
import torch
from torch import nn


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


@pytest.mark.parametrize(('step', 'decay'), [(0, 0.1), (89, 90 / 99), (100_000, 0.99)])
def test_update_uses_the_decay_of_the_step(step: int, decay: float) -> None:
    model = small()
    ema = Ema(model, 0.99)
    old = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1.0
        model[1].running_mean.fill_(5.0)
        model[1].num_batches_tracked.fill_(7)
    ema.update(model, step)
    for key, value in ema.model.state_dict().items():
        new = model.state_dict()[key]
        if value.is_floating_point():
            torch.testing.assert_close(value, decay * old[key] + (1 - decay) * new)
        else:
            assert torch.equal(value, new)


def test_average_converges_to_constant_weights() -> None:
    model = small()
    ema = Ema(small(), 0.9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(3.0)
    for step in range(300):
        ema.update(model, step)
    for value in ema.model.parameters():
        torch.testing.assert_close(value, torch.full_like(value, 3.0))


def test_average_is_a_copy_in_evaluation_mode_without_gradients() -> None:
    model = small().train()
    ema = Ema(model, 0.9)
    assert not ema.model.training
    assert model.training
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    pairs = zip(model.parameters(), ema.model.parameters(), strict=True)
    assert all(a.data_ptr() != b.data_ptr() for a, b in pairs)


def test_equal_weights_stay_bit_identical() -> None:
    model = small()
    ema = Ema(model, 0.9)
    ema.update(model, 5)
    for key, value in ema.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[key])
