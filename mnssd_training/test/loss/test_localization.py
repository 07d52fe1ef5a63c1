"""The loss of the boxes against calculations by hand and against the contract."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.ssd import decode_boxes as decode_of_the_contract
from mnssd_perception.ssd import encode_boxes as encode_of_the_contract
from mnssd_training.loss.localization import (
    decode_boxes,
    decoded_iou,
    encode_boxes,
    iou_loss,
    offset_loss,
    paired_iou,
)
import numpy as np
import pytest
import torch

VARIANCES = (0.1, 0.2)
PRIOR = torch.tensor([[50.0, 50.0, 20.0, 20.0]])


def offsets_of(box: list[float]) -> torch.Tensor:
    return torch.from_numpy(
        encode_of_the_contract(np.array([box], np.float32), PRIOR.numpy(), VARIANCES)
    )


@pytest.mark.parametrize('name', ['giou', 'diou', 'ciou'])
def test_losses_of_no_boxes_are_zero(name: str) -> None:
    nothing = torch.zeros(0, 4, requires_grad=True)
    loss = iou_loss(nothing, torch.zeros(0, 4), torch.zeros(0, 4), VARIANCES, name)
    (loss + offset_loss(nothing, nothing.detach(), 'smooth_l1')).sum().backward()
    assert loss.shape == paired_iou(nothing, nothing).shape == (0,)


def test_offset_losses_equal_calculation_by_hand() -> None:
    actual, target = torch.tensor([[0.5, -3.0, 0.0, 1.0]]), torch.zeros(1, 4)
    smooth = 0.5 * 0.5**2 + (3.0 - 0.5) + 0.0 + 0.5
    assert float(offset_loss(actual, target, 'smooth_l1')) == pytest.approx(smooth)
    assert float(offset_loss(actual, target, 'l1')) == pytest.approx(4.5)
    assert float(offset_loss(actual, target, 'smooth_l1', 0.0)) == pytest.approx(4.5)
    small = 0.5 * 0.5**2 / 2 + (3.0 - 1.0) + 0.5 / 2
    assert float(offset_loss(actual, target, 'smooth_l1', 2.0)) == pytest.approx(small)


# Boxes of 20 x 20 and 20 x 10 that share a quarter of the first; IoU 100 / 500; they lie in a box
# of 30 x 20, whose diagonal squared is 1300; the centres are (10, -5) apart.
TARGET, FOUND = [40.0, 40.0, 60.0, 60.0], [50.0, 40.0, 70.0, 50.0]
IOU, HULL = 100 / 500, 30 * 20
DISTANCE = (10**2 + 5**2) / 1300
ASPECT = 4 / math.pi**2 * (math.atan(2) - math.atan(1)) ** 2


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('giou', 1 - IOU + (HULL - 500) / HULL),
        ('diou', 1 - IOU + DISTANCE),
        ('ciou', 1 - IOU + DISTANCE + ASPECT**2 / (1 - IOU + ASPECT)),
    ],
)
def test_iou_losses_equal_calculation_by_hand(name: str, expected: float) -> None:
    actual, target = offsets_of(FOUND), offsets_of(TARGET)
    assert float(iou_loss(actual, target, PRIOR, VARIANCES, name)) == pytest.approx(
        expected, rel=1e-5
    )
    assert float(iou_loss(target, target, PRIOR, VARIANCES, name)) == pytest.approx(0, abs=1e-5)


def test_iou_of_pairs_equals_calculation_by_hand() -> None:
    assert float(decoded_iou(offsets_of(FOUND), offsets_of(TARGET), PRIOR, VARIANCES)) == (
        pytest.approx(IOU, rel=1e-5)
    )
    boxes = torch.tensor([TARGET, FOUND, [0, 0, 9, 9], [5, 5, 5, 5], [9, 9, 0, 0]])
    others = torch.tensor([TARGET, TARGET, TARGET, [5, 5, 5, 5], [9, 9, 0, 0]])
    assert paired_iou(boxes, others).tolist() == pytest.approx([1.0, IOU, 0.0, 0.0, 0.0])


@pytest.mark.parametrize('name', ['giou', 'diou', 'ciou'])
@pytest.mark.parametrize('scale', [1.0, 1e3, 1e30])
def test_gradient_of_diverged_boxes_is_finite(name: str, scale: float) -> None:
    torch.manual_seed(0)
    actual = (torch.randn(200, 4) * scale).requires_grad_()
    target, priors = torch.randn(200, 4), PRIOR.expand(200, 4)
    loss = iou_loss(actual, target, priors, VARIANCES, name).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(actual.grad).all()
    ious = decoded_iou(actual.detach(), target, priors, VARIANCES)
    assert ((ious >= 0) & (ious <= 1)).all()


@pytest.mark.parametrize('name', ['giou', 'diou', 'ciou'])
def test_gradient_moves_disjoint_boxes_together(name: str) -> None:
    actual = offsets_of([100.0, 40.0, 120.0, 60.0]).requires_grad_()
    iou_loss(actual, offsets_of(TARGET), PRIOR, VARIANCES, name).backward()
    assert actual.grad[0, 0] > 0  # to the left


numbers = st.floats(-60, 60, width=32)
rows = st.lists(st.tuples(numbers, numbers, numbers, numbers), min_size=1, max_size=9)


@settings(max_examples=50, deadline=None)
@given(rows, st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)))
def test_decoding_agrees_with_the_drone(
    offsets: list[tuple[float, ...]], variances: tuple[float, float]
) -> None:
    made = np.array(offsets, np.float32)
    priors = np.random.default_rng(0).uniform(0.1, 1, (len(made), 4)).astype(np.float32)
    expected = decode_of_the_contract(made, priors, variances)
    actual = decode_boxes(torch.from_numpy(made), torch.from_numpy(priors), variances)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize('num', [0, 50])
def test_encoding_agrees_with_the_drone(num: int) -> None:
    generator = np.random.default_rng(0)
    low = generator.uniform(0, 0.9, (num, 2))
    boxes = np.concatenate((low, low + generator.uniform(0.01, 0.5, (num, 2))), axis=1)
    boxes, priors = boxes.astype(np.float32), generator.uniform(0.1, 1, (num, 4))
    priors = priors.astype(np.float32)
    expected = encode_of_the_contract(boxes, priors, VARIANCES)
    actual = encode_boxes(torch.from_numpy(boxes), torch.from_numpy(priors), VARIANCES)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-5, atol=1e-5)
