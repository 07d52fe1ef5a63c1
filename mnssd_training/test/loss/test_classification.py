"""Classification losses against calculations by hand."""

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.ssd import (
    feature_map,
    ModelSpec,
    postprocess,
    RawHeads,
    resize_transform,
    Thresholds,
)
from mnssd_training.loss.classification import (
    focal_loss,
    quality_focal_loss,
    softmax_loss,
    varifocal_loss,
)
import numpy as np
import pytest
import torch

LOGITS = [[0.0, 2.0, -1.0], [1.0, 0.0, 0.5], [3.0, 0.0, 0.0], [0.0, 5.0, 5.0], [0.1, 0.2, 0.3]]
TARGET = [1, 0, 0, -1, 0]  # one object, three of background, one ignored
QUALITY = [0.7, 0.0, 0.3, 0.9, 0.0]  # only that of the object counts


def softmax(logits: Any = LOGITS, target: Any = TARGET, **changes: Any) -> float:
    settings = {'neg_pos_ratio': 3.0, 'min_negatives': 0} | changes
    return float(softmax_loss(torch.tensor([logits]), torch.tensor([target]), **settings))


def focal(logits: Any = LOGITS, target: Any = TARGET, **changes: Any) -> float:
    settings = {'alpha': 0.25, 'gamma': 2.0} | changes
    return float(focal_loss(torch.tensor([logits]), torch.tensor([target]), **settings))


def quality_focal(target: Any = TARGET, gamma: float = 2.0, **changes: Any) -> float:
    tensors = (torch.tensor([value]) for value in (LOGITS, target, QUALITY))
    return float(quality_focal_loss(*tensors, gamma=gamma, **changes))


def varifocal(target: Any = TARGET, quality: Any = QUALITY, **changes: Any) -> float:
    parameters = {'alpha': 0.25, 'gamma': 2.0} | changes
    tensors = (torch.tensor([value]) for value in (LOGITS, target, quality))
    return float(varifocal_loss(*tensors, **parameters))


def entropy(logits: list[float], index: int) -> float:
    return math.log(sum(map(math.exp, logits))) - logits[index]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_losses_of_no_images_and_no_priors_are_zero() -> None:
    for shape in ((0, 5), (2, 0)):
        logits = torch.zeros(*shape, 3, requires_grad=True)
        target = torch.zeros(shape, dtype=torch.int64)
        loss = softmax_loss(logits, target, neg_pos_ratio=3.0, min_negatives=16)
        loss = loss + focal_loss(logits, target, alpha=0.25, gamma=2.0)
        loss = loss + quality_focal_loss(logits, target, torch.zeros(shape), gamma=2.0)
        loss = loss + varifocal_loss(logits, target, torch.zeros(shape), alpha=0.25, gamma=2.0)
        loss.backward()
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


def soft_by_hand(positive: Any, negative: Any, quality: float = 0.7) -> float:
    """Sum a loss given as a function of score and quality, and one of the score."""
    loss = 0.0
    for logits, target in zip(LOGITS, TARGET):
        for column in (1, 2) if target >= 0 else ():
            p = sigmoid(logits[column] - logits[0])
            loss += positive(p, quality) if target == column else negative(p)
    return float(loss)


def cross_entropy(p: float, q: float) -> float:
    return -q * math.log(p) - (1 - q) * math.log(1 - p)


def test_quality_focal_loss_equals_calculation_by_hand() -> None:
    expected = soft_by_hand(
        lambda p, q: abs(q - p) ** 2 * cross_entropy(p, q), lambda p: -(p**2) * math.log(1 - p)
    )
    assert quality_focal() == pytest.approx(expected, rel=1e-5)
    expected = soft_by_hand(cross_entropy, lambda p: -math.log(1 - p))
    assert quality_focal(gamma=0.0) == pytest.approx(expected, rel=1e-5)


def test_varifocal_loss_equals_calculation_by_hand() -> None:
    def negative(p: float) -> float:
        return -0.75 * p**2 * math.log(1 - p)

    expected = soft_by_hand(lambda p, q: q * cross_entropy(p, q), negative)
    assert varifocal() == pytest.approx(expected, rel=1e-5)
    # A positive whose box does not meet its object is a negative, as in the paper.
    expected = soft_by_hand(lambda p, q: negative(p), negative)
    assert varifocal(quality=[0.0] * 5) == pytest.approx(expected, rel=1e-5)


def test_class_weights_apply_to_quality_losses() -> None:
    target, weights = [1, -1, -1, -1, -1], torch.tensor([1.0, 2.0, 0.5])
    assert quality_focal(target, weights=weights) == pytest.approx(2 * quality_focal(target))
    assert varifocal(target, weights=weights) == pytest.approx(2 * varifocal(target))


@settings(max_examples=20, deadline=None)
@given(
    qualities=st.tuples(*[st.floats(0.0625, 0.9375)] * 4),
    label=st.integers(0, 1),
    gamma=st.sampled_from([0.0, 2.0]),
)
def test_minimum_of_quality_losses_is_scored_by_the_post_process_as_quality(
    qualities: tuple[float, ...], label: int, gamma: float
) -> None:
    quality, target = torch.tensor([qualities]), torch.full((1, 4), label + 1)
    # At this minimum the other class has no score, so that the softmax is the sigmoid.
    logits = torch.full((1, 4, 3), -30.0)
    logits[..., 0], logits[..., label + 1] = 0.5, 0.5 + quality.logit()
    logits.requires_grad_()
    for loss in (
        quality_focal_loss(logits, target, quality, gamma=gamma),
        varifocal_loss(logits, target, quality, alpha=0.25, gamma=gamma),
    ):
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient.abs().max() < 1e-5
    size = (20, 80)
    spec = ModelSpec(size, ('a', 'b'), (feature_map(size, 20, ((10.0, 10.0),)),))
    heads = RawHeads(logits[0].detach().numpy(), np.zeros((4, 4), np.float32))
    found = postprocess(heads, spec, resize_transform(size, size, 'stretch'), Thresholds(0.01))
    assert found.labels.tolist() == [label] * 4
    np.testing.assert_allclose(found.scores, sorted(qualities, reverse=True), rtol=1e-4)


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
