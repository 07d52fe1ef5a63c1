"""The loss against calculations by hand."""

import math
from typing import Any

from mnssd_training.errors import ConfigError
from mnssd_training.loss import LossConfig, multibox_loss
import numpy as np
import pytest
import torch


def entropy(logits: list[float], index: int) -> float:
    return math.log(sum(map(math.exp, logits))) - logits[index]


def test_a_small_case_by_hand() -> None:
    logits = [[0.0, 2.0, -1.0], [1.0, 0.0, 0.5], [3.0, 0.0, 0.0], [0.0, 5.0, 5.0], [0.1, 0.2, 0.3]]
    goal = [1, 0, 0, -1, 0]  # one object, three of background, one left out
    offsets = torch.zeros(1, 5, 4)
    offsets[0, 0] = torch.tensor([0.5, -3.0, 0.0, 1.0])
    losses = multibox_loss(
        torch.tensor([logits]),
        offsets,
        torch.tensor([goal]),
        torch.zeros(1, 5, 4),
        LossConfig(negatives=2.0, min_negatives=0, box_weight=0.5, beta=1.0),
    )
    hardest = sorted((entropy(logits[i], 0) for i in (1, 2, 4)), reverse=True)[:2]
    classes = entropy(logits[0], 1) + sum(hardest)
    boxes = 0.5 * 0.5**2 + (3.0 - 0.5) + 0.0 + 0.5
    assert float(losses.classes) == pytest.approx(classes, rel=1e-6)
    assert float(losses.boxes) == pytest.approx(boxes, rel=1e-6)
    assert float(losses.total) == pytest.approx(classes + 0.5 * boxes, rel=1e-6)


def counted(
    goal: torch.Tensor, config: LossConfig, seed: int = 0, num_classes: int = 3
) -> tuple[np.ndarray, torch.Tensor]:
    """Tell which priors have a gradient, and the logits."""
    torch.manual_seed(seed)
    logits = torch.randn(*goal.shape, num_classes + 1, requires_grad=True)
    offsets = torch.randn(*goal.shape, 4, requires_grad=True)
    multibox_loss(logits, offsets, goal, torch.zeros(*goal.shape, 4), config).total.backward()
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(offsets.grad).all()
    assert torch.equal((offsets.grad != 0).any(dim=2), goal > 0)
    return (logits.grad != 0).any(dim=2).numpy(), logits.detach()


def test_three_hard_negatives_for_each_positive_of_an_image() -> None:
    goal = torch.zeros(3, 400, dtype=torch.int64)
    goal[0, :10] = 1
    goal[1, :40] = 2
    goal[1, 40:140] = -1
    goal[2, :390] = 3  # fewer negatives than three for each
    mask, logits = counted(goal, LossConfig(min_negatives=0))
    negatives = mask & (goal == 0).numpy()
    assert negatives.sum(axis=1).tolist() == [30, 120, 10]
    hardness = -torch.log_softmax(logits, dim=2)[..., 0].numpy()
    for row in range(3):
        left_out = (goal[row] == 0).numpy() & ~negatives[row]
        if left_out.any():
            assert hardness[row][negatives[row]].min() >= hardness[row][left_out].max()


def test_what_is_left_out_is_never_counted() -> None:
    goal = torch.zeros(1, 50, dtype=torch.int64)
    goal[0, :5] = 1
    goal[0, 5:45] = -1
    mask, _ = counted(goal, LossConfig())
    assert mask[0].tolist() == [True] * 5 + [False] * 40 + [True] * 5
    assert counted(torch.full((2, 9), -1), LossConfig())[0].sum() == 0


def test_what_is_left_out_may_hold_anything() -> None:
    goal = torch.tensor([[1, 0, -1]])
    logits, offsets = torch.zeros(1, 3, 4), torch.zeros(1, 3, 4)
    wild, wild_offsets = logits.clone(), offsets.clone()
    wild[0, 2], wild_offsets[0, 2] = torch.tensor([1e30, -1e30, 0, 0]), 1e30
    plain, other = (
        multibox_loss(x, y, goal, torch.zeros(1, 3, 4), LossConfig())
        for x, y in ((logits, offsets), (wild, wild_offsets))
    )
    assert float(plain.total) == float(other.total)


def test_an_image_without_positives_has_the_fewest_negatives() -> None:
    goal = torch.zeros(2, 100, dtype=torch.int64)
    goal[1, 0] = 1
    mask, _ = counted(goal, LossConfig(min_negatives=16))
    assert mask.sum(axis=1).tolist() == [16, 17]


def test_a_batch_without_positives_and_without_negatives() -> None:
    nothing = torch.zeros(1, 4, 4, requires_grad=True)
    losses = multibox_loss(
        nothing, nothing, torch.full((1, 4), -1), torch.zeros(1, 4, 4), LossConfig()
    )
    losses.total.backward()
    assert losses.total.item() == 0
    assert (nothing.grad == 0).all()


@pytest.mark.parametrize('scale', [1e-6, 1.0, 1e4, 1e30])
def test_the_gradient_stays_finite(scale: float) -> None:
    torch.manual_seed(2)
    logits = (torch.randn(2, 60, 5) * scale).requires_grad_()
    offsets = (torch.randn(2, 60, 4) * scale).requires_grad_()
    goal = torch.randint(-1, 5, (2, 60))
    losses = multibox_loss(logits, offsets, goal, torch.zeros(2, 60, 4), LossConfig())
    losses.total.backward()
    assert torch.isfinite(losses.total)
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(offsets.grad).all()


def test_half_precision_heads_are_compared_in_float32() -> None:
    goal = torch.tensor([[1, 0, 0]])
    heads = torch.randn(1, 3, 4).bfloat16()
    losses = multibox_loss(heads, heads, goal, torch.zeros(1, 3, 4), LossConfig())
    assert losses.total.dtype == torch.float32


@pytest.mark.parametrize('name', ['negatives', 'min_negatives', 'box_weight', 'beta'])
@pytest.mark.parametrize('value', [-1, float('nan')])
def test_negative_weights_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf'loss\.{name}: expected at least 0'):
        LossConfig(**{name: value})
