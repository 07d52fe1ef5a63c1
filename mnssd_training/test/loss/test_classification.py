"""Classification losses against calculations by hand."""

import math
from typing import Any

from mnssd_training.loss.classification import focal_loss, softmax_loss
import pytest
import torch

LOGITS = [[0.0, 2.0, -1.0], [1.0, 0.0, 0.5], [3.0, 0.0, 0.0], [0.0, 5.0, 5.0], [0.1, 0.2, 0.3]]
TARGET = [1, 0, 0, -1, 0]  # one object, three of background, one ignored


def softmax(logits: Any = LOGITS, target: Any = TARGET, **changes: Any) -> float:
    settings = {'neg_pos_ratio': 3.0, 'min_negatives': 0} | changes
    return float(softmax_loss(torch.tensor([logits]), torch.tensor([target]), **settings))


def focal(logits: Any = LOGITS, target: Any = TARGET, **changes: Any) -> float:
    settings = {'alpha': 0.25, 'gamma': 2.0} | changes
    return float(focal_loss(torch.tensor([logits]), torch.tensor([target]), **settings))


def entropy(logits: list[float], index: int) -> float:
    return math.log(sum(map(math.exp, logits))) - logits[index]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_losses_of_no_images_and_no_priors_are_zero() -> None:
    for shape in ((0, 5), (2, 0)):
        logits = torch.zeros(*shape, 3, requires_grad=True)
        target = torch.zeros(shape, dtype=torch.int64)
        loss = softmax_loss(logits, target, neg_pos_ratio=3.0, min_negatives=16)
        (loss + focal_loss(logits, target, alpha=0.25, gamma=2.0)).backward()
        assert loss.item() == 0
        assert logits.grad.shape == logits.shape


def test_softmax_loss_equals_calculation_by_hand() -> None:
    hardest = sorted((entropy(LOGITS[i], 0) for i in (1, 2, 4)), reverse=True)
    object_ = entropy(LOGITS[0], 1)
    assert softmax() == pytest.approx(object_ + sum(hardest), rel=1e-6)
    assert softmax(neg_pos_ratio=2.0) == pytest.approx(object_ + sum(hardest[:2]), rel=1e-6)
    assert softmax(neg_pos_ratio=0.0) == pytest.approx(object_, rel=1e-6)
    assert softmax(neg_pos_ratio=0.0, min_negatives=1) == pytest.approx(object_ + hardest[0])


def test_label_smoothing_equals_calculation_by_hand() -> None:
    def smoothed(row: int, index: int) -> float:
        even = sum(entropy(LOGITS[row], column) for column in range(3)) / 3
        return 0.9 * entropy(LOGITS[row], index) + 0.1 * even

    expected = smoothed(0, 1) + sum(smoothed(row, 0) for row in (1, 2, 4))
    assert softmax(label_smoothing=0.1) == pytest.approx(expected, rel=1e-6)


def test_label_smoothing_does_not_change_hard_negative_mining() -> None:
    logits = [[0.0, 9.0], [0.0, 0.5], [40.0, 0.0]]  # the last is background without a doubt
    smooth = 0.2 * (entropy(logits[1], 0) + entropy(logits[1], 1)) / 2
    expected = 0.8 * entropy(logits[1], 0) + smooth
    actual = softmax(logits[1:], [0, 0], neg_pos_ratio=0.0, min_negatives=1, label_smoothing=0.2)
    assert actual == pytest.approx(expected, rel=1e-6)


def test_class_weights_equal_calculation_by_hand() -> None:
    target, weights = [1, 0, 0, -1, 2], torch.tensor([1.0, 2.0, 0.5])
    expected = 2 * entropy(LOGITS[0], 1) + 0.5 * entropy(LOGITS[4], 2)
    assert softmax(target=target, neg_pos_ratio=0.0, weights=weights) == pytest.approx(
        expected, rel=1e-6
    )
    only = focal(target=[1, -1, -1, -1, -1])
    assert focal(target=[1, -1, -1, -1, -1], weights=weights) == pytest.approx(2 * only, rel=1e-6)


def test_focal_loss_equals_calculation_by_hand() -> None:
    expected = 0.0
    for logits, target in zip(LOGITS, TARGET):
        for column in (1, 2) if target >= 0 else ():
            p = sigmoid(logits[column] - logits[0])
            if target == column:
                expected -= 0.25 * (1 - p) ** 2 * math.log(p)
            else:
                expected -= 0.75 * p**2 * math.log(1 - p)
    assert focal() == pytest.approx(expected, rel=1e-5)


def test_focal_loss_of_one_class_is_the_softmax_of_two_columns() -> None:
    """Without focus both losses are the same function of the same two logits."""
    logits, target = [row[:2] for row in LOGITS], [1, 0, 0, -1, 0]
    actual = 2 * focal(logits, target, alpha=0.5, gamma=0.0)
    assert actual == pytest.approx(softmax(logits, target), rel=1e-6)
    smoothed = [{'label_smoothing': 0.2}, {'label_smoothing': 0.2, 'alpha': 0.5, 'gamma': 0.0}]
    actual = 2 * focal(logits, target, **smoothed[1])
    assert actual == pytest.approx(softmax(logits, target, **smoothed[0]), rel=1e-6)


def counted(target: torch.Tensor, **changes: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Tell which priors have a gradient, and the logits."""
    torch.manual_seed(0)
    logits = torch.randn(*target.shape, 4, requires_grad=True)
    settings = {'neg_pos_ratio': 3.0, 'min_negatives': 16} | changes
    softmax_loss(logits, target, **settings).backward()
    assert torch.isfinite(logits.grad).all()
    return (logits.grad != 0).any(dim=2), logits.detach()


def test_each_image_has_three_hard_negatives_per_positive() -> None:
    target = torch.zeros(3, 400, dtype=torch.int64)
    target[0, :10] = 1
    target[1, :40] = 2
    target[1, 40:140] = -1
    target[2, :390] = 3  # fewer negatives than three for each
    mask, logits = counted(target, min_negatives=0)
    negatives = mask & (target == 0)
    assert negatives.sum(dim=1).tolist() == [30, 120, 10]
    hardness = -torch.log_softmax(logits, dim=2)[..., 0]
    for row in range(3):
        excluded = (target[row] == 0) & ~negatives[row]
        if excluded.any():
            assert hardness[row][negatives[row]].min() >= hardness[row][excluded].max()


def test_ignored_priors_do_not_count() -> None:
    target = torch.zeros(1, 50, dtype=torch.int64)
    target[0, :5] = 1
    target[0, 5:45] = -1
    assert counted(target)[0][0].tolist() == [True] * 5 + [False] * 40 + [True] * 5
    assert not counted(torch.full((2, 9), -1))[0].any()


def test_an_image_without_positives_has_min_negatives() -> None:
    target = torch.zeros(2, 100, dtype=torch.int64)
    target[1, 0] = 1
    assert counted(target)[0].sum(dim=1).tolist() == [16, 17]
