"""The whole loss: its parts, what it is divided by and what does not change it."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.ssd import decode_boxes, generate_priors, ModelSpec
from mnssd_perception.ssd.boxes import box_iou
from mnssd_training.config import LossConfig, ModelConfig
from mnssd_training.config.sections import QUALITY_LOSSES
from mnssd_training.errors import ConfigError
from mnssd_training.loss import count_positives, Criterion, Losses
from mnssd_training.loss.classification import quality_focal_loss, varifocal_loss
from mnssd_training.model import build_model
import numpy as np
from pydantic import ValidationError
import pytest
import torch

CLASSES = ('softmax', 'focal', 'quality_focal', 'varifocal')
BOXES = ('smooth_l1', 'l1', 'giou', 'diou', 'ciou')
KINDS = [(c, b) for c in CLASSES for b in BOXES]


class Case:
    """A batch of made-up heads and targets."""

    def __init__(self, spec: ModelSpec, num: int = 3, seed: int = 0, scale: float = 1.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.spec = spec
        self.priors = torch.from_numpy(generate_priors(spec).copy())
        shape = (num, len(self.priors))
        self.logits = torch.randn(*shape, spec.num_classes + 1, generator=generator) * scale
        self.offsets = torch.randn(*shape, 4, generator=generator) * scale
        self.target_offsets = torch.randn(*shape, 4, generator=generator)
        target = torch.randint(-9, spec.num_classes + 1, shape, generator=generator)
        self.target = torch.where(target < -3, 0, target.clamp(min=-1))

    def loss(
        self,
        order: Any = slice(None),
        images: Any = slice(None),
        num: int | None = None,
        **changes: Any,
    ) -> Losses:
        """Compute the loss of some images, with the priors in some order."""
        positives = count_positives(self.target) if num is None else torch.tensor(num)
        return Criterion(LossConfig(**changes), self.spec)(
            self.logits[images][:, order],
            self.offsets[images][:, order],
            self.target[images][:, order],
            self.target_offsets[images][:, order],
            self.priors[order],
            self.spec.input_size,
            positives,
        )


@pytest.mark.parametrize(('classes', 'boxes'), KINDS)
def test_batches_without_positives_or_priors(spec: ModelSpec, classes: Any, boxes: Any) -> None:
    """No images, no object, nothing that is not left out."""
    for num, target in ((0, 0), (2, 0), (2, -1)):
        case = Case(spec, num)
        case.target[:] = target
        case.logits.requires_grad_()
        case.offsets.requires_grad_()
        losses = case.loss(classification=classes, localization=boxes)
        losses.total.backward()
        assert losses.boxes.item() == 0
        assert (losses.classes.item() > 0) == (num > 0 and target == 0)
        assert (case.offsets.grad == 0).all()
        assert torch.isfinite(case.logits.grad).all()
        assert target == 0 or (case.logits.grad == 0).all()


def test_losses_are_divided_by_the_number_of_positives(spec: ModelSpec) -> None:
    case = Case(spec)
    one, four = case.loss(num=1), case.loss(num=4, localization_weight=0.5)
    torch.testing.assert_close(four.classes * 4, one.classes)
    torch.testing.assert_close(four.boxes * 4, one.boxes)
    torch.testing.assert_close(four.total, four.classes + 0.5 * four.boxes)
    assert case.loss(num=0).total == one.total
    assert count_positives(case.target) == (case.target > 0).sum() > 0


@pytest.mark.parametrize(('classes', 'boxes'), KINDS)
def test_gradients_are_finite_and_skip_ignored_priors(
    spec: ModelSpec, classes: Any, boxes: Any
) -> None:
    for scale in (1e-6, 1.0, 1e4, 1e30):
        case = Case(spec, scale=scale)
        case.logits.requires_grad_()
        case.offsets.requires_grad_()
        smoothing = 0.0 if classes in QUALITY_LOSSES else 0.1
        losses = case.loss(classification=classes, localization=boxes, label_smoothing=smoothing)
        losses.total.backward()
        assert torch.isfinite(case.logits.grad).all()
        assert torch.isfinite(case.offsets.grad).all()
        assert (case.logits.grad[case.target < 0] == 0).all()
        assert (case.offsets.grad[case.target <= 0] == 0).all()
        assert (case.offsets.grad != 0).any() or scale > 1e4


@pytest.mark.parametrize(('classes', 'boxes'), KINDS)
def test_ignored_priors_may_hold_any_value(spec: ModelSpec, classes: Any, boxes: Any) -> None:
    case = Case(spec)
    plain = case.loss(classification=classes, localization=boxes)
    case.logits[case.target < 0] = torch.tensor([1e30, -1e30, 0, 0, 1.0])
    case.offsets[case.target <= 0] = 1e30
    assert case.loss(classification=classes, localization=boxes) == plain


kinds = st.sampled_from(KINDS)
smoothings = st.sampled_from([0.0, 0.1])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), kind=kinds, smoothing=smoothings, split=st.integers(0, 4))
def test_loss_does_not_depend_on_order_and_parts(
    seed: int, kind: tuple[str, str], smoothing: float, split: int, spec: ModelSpec
) -> None:
    case = Case(spec, 4, seed)
    changes: dict[str, Any] = {
        'classification': kind[0],
        'localization': kind[1],
        'label_smoothing': 0.0 if kind[0] in QUALITY_LOSSES else smoothing,
        'class_weights': {'Car': 2.5},
    }
    whole = case.loss(**changes)
    generator = torch.Generator().manual_seed(seed)
    priors = torch.randperm(len(case.priors), generator=generator)
    images = torch.randperm(4, generator=generator)
    for part in ('classes', 'boxes', 'total'):
        expected = getattr(whole, part)
        actual = getattr(case.loss(priors, images, **changes), part)
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
        first = case.loss(images=slice(0, split), **changes)
        second = case.loss(images=slice(split, 4), **changes)
        actual = getattr(first, part) + getattr(second, part)
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(('classes', 'boxes'), KINDS)
def test_half_precision_heads_are_compared_in_float32(
    spec: ModelSpec, classes: Any, boxes: Any
) -> None:
    case = Case(spec)
    case.logits, case.offsets = case.logits.bfloat16().float(), case.offsets.bfloat16().float()
    expected = case.loss(classification=classes, localization=boxes)
    case.logits, case.offsets = case.logits.bfloat16(), case.offsets.bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        actual = case.loss(classification=classes, localization=boxes)
    assert actual.total.dtype == torch.float32
    assert actual == expected


def test_class_weights_apply_to_the_named_class(spec: ModelSpec) -> None:
    case = Case(spec)
    case.target[case.target > 0] = 2  # all cars
    plain, heavy = (
        case.loss(neg_pos_ratio=0, min_negatives=0, class_weights=weights)
        for weights in ({}, {'Car': 3.0, 'Person': 7.0})
    )
    torch.testing.assert_close(heavy.classes, 3 * plain.classes)
    torch.testing.assert_close(heavy.boxes, plain.boxes)


def test_class_weight_of_an_unknown_class_is_refused(spec: ModelSpec) -> None:
    with pytest.raises(ConfigError, match=r"loss.class_weights: .*Person, Car.*'car'; did you"):
        Criterion(LossConfig(class_weights={'car': 2.0}), spec)
    with pytest.raises(ConfigError, match="got 'zeppelin'$"):
        Criterion(LossConfig(class_weights={'zeppelin': 2.0}), spec)


@pytest.mark.parametrize('classes', QUALITY_LOSSES)
def test_quality_is_the_iou_of_decoded_boxes_without_gradient(
    spec: ModelSpec, classes: Any
) -> None:
    case = Case(spec)
    case.offsets.requires_grad_()
    assert not case.loss(classification=classes).classes.requires_grad
    positive = case.target > 0
    priors = case.priors.expand(3, -1, -1)[positive].numpy()
    decoded, objects = (
        decode_boxes(offsets[positive].detach().numpy(), priors, spec.variances)
        for offsets in (case.offsets, case.target_offsets)
    )
    height, width = spec.input_size
    scale = np.array((width, height, width, height))
    pairs = zip(decoded * scale, objects * scale, strict=True)
    quality = torch.zeros(case.target.shape)
    quality[positive] = torch.tensor(
        [float(box_iou(a[None], b[None])[0, 0]) for a, b in pairs], dtype=torch.float32
    )
    config = LossConfig()
    alpha, gamma = config.focal_alpha, config.focal_gamma
    expected = {
        'quality_focal': quality_focal_loss(case.logits, case.target, quality, gamma=gamma),
        'varifocal': varifocal_loss(case.logits, case.target, quality, alpha=alpha, gamma=gamma),
    }[classes] / positive.sum()
    torch.testing.assert_close(case.loss(classification=classes).classes, expected)


@pytest.mark.parametrize('classes', ['focal', *QUALITY_LOSSES])
def test_first_steps_of_sigmoid_losses_do_not_unlearn_false_alarms(
    spec: ModelSpec, classes: Any
) -> None:
    """With the initial bias of the heads, a negative costs far less than a positive."""
    network = build_model(spec, ModelConfig(pyramid_channels=8))
    case = Case(spec, 1)
    image = torch.full((1, *spec.input_size, 3), 128, dtype=torch.uint8)
    with torch.no_grad():
        case.logits, case.offsets = network(image)
    case.target_offsets[:] = 0  # objects as large as their priors
    case.target[:] = 0
    negatives = float(case.loss(num=1, classification=classes).classes)
    case.target[:] = -1
    case.target[0, 0] = 1
    positive = float(case.loss(num=1, classification=classes).classes)
    assert negatives < 0.05 * positive


def test_label_smoothing_is_refused_with_quality_losses() -> None:
    with pytest.raises(ValidationError, match='label_smoothing: expected 0 with .*varifocal'):
        LossConfig(classification='varifocal', label_smoothing=0.1)
