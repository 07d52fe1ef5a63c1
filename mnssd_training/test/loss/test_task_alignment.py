"""Task-aligned assignment against a case by hand and against plain loops."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.ssd import boxes as box_ops
from mnssd_perception.ssd import decode_boxes, generate_priors, ModelSpec
from mnssd_training.config import AssignmentConfig
from mnssd_training.data.assignment import find_candidates
from mnssd_training.loss import align_tasks, TargetTensors
import numpy as np
import pytest
import torch

VARIANCES = (0.1, 0.2)


def background(num_images: int, num_priors: int) -> TargetTensors:
    shape = num_images, num_priors
    return TargetTensors(torch.zeros(shape, dtype=torch.int64), torch.zeros(*shape, 4))


@pytest.mark.parametrize(('num_images', 'num_objects'), [(0, 0), (0, 2), (2, 0), (2, 3)])
def test_images_without_objects_stay_as_they_are(num_images: int, num_objects: int) -> None:
    """No object at all, or only those that fill up."""
    targets = background(num_images, 5)
    targets.classes[:, 1] = -1
    shape = num_images, num_objects
    actual = align_tasks(
        torch.zeros(num_images, 5, 3),
        torch.zeros(num_images, 5, 4),
        targets,
        torch.zeros(*shape, 4),
        torch.full(shape, -1),
        torch.full((*shape, 4), -1),
        torch.full((5, 4), 0.5),
        VARIANCES,
        AssignmentConfig(method='tal'),
    )
    assert torch.equal(actual.classes, targets.classes)
    assert not actual.offsets.any()
    assert actual.quality is not None
    assert actual.quality.shape == (num_images, 5)
    assert not actual.quality.any()


def test_golden_case() -> None:
    """
    Four priors of a row, one wide object over three of them, one small one over the third.

    Boxes are those of the priors, of a tenth in height and width. The wide object has IoUs of
    1/3 each and scores of 1/2, 1/4 and 3/4; the small one an IoU of 1 with prior 2, which it gets.
    """
    priors = torch.tensor([[0.15 + 0.1 * i, 0.5, 0.1, 0.1] for i in range(4)])
    boxes = torch.tensor([[[0.1, 0.45, 0.4, 0.55], [0.3, 0.45, 0.4, 0.55]]])
    scores = torch.tensor([0.5, 0.25, 0.75, 0.5])
    logits = torch.zeros(1, 4, 3)
    logits[0, :, 0], logits[0, :, 1] = 1.0, 1.0 + scores.logit()  # both objects are of class 0
    actual = align_tasks(
        logits,
        torch.zeros(1, 4, 4),
        background(1, 4),
        boxes,
        torch.tensor([[0, 0]]),
        torch.tensor([[[0, 1, 2], [2, -1, -1]]]),
        priors,
        VARIANCES,
        AssignmentConfig(method='tal', tal_topk=3, tal_alpha=1.0, tal_beta=6.0),
    )
    assert actual.classes.tolist() == [[1, 1, 1, 0]]
    assert actual.quality is not None
    # The best of the wide object that remains has its highest IoU, the other in proportion.
    golden = torch.tensor([[1 / 3, 1 / 3 * 0.25 / 0.5, 1.0, 0.0]])
    torch.testing.assert_close(actual.quality, golden, rtol=1e-4, atol=1e-6)
    # Prior 2 predicts the small object exactly.
    torch.testing.assert_close(actual.offsets[0, 2], torch.zeros(4), rtol=0, atol=1e-5)
    # Prior 0 is 0.1 to the left of the wide object's centre, which is three times as wide.
    expected = torch.tensor([1 / 0.1, 0.0, float(np.log(3)) / 0.2, 0.0])
    torch.testing.assert_close(actual.offsets[0, 0], expected, rtol=1e-4, atol=1e-4)


class Case:
    """A batch of made-up predictions and objects, each near a prior or anywhere."""

    def __init__(self, spec: ModelSpec, seed: int, num_images: int = 2) -> None:
        generator = np.random.default_rng(seed)
        self.priors = generate_priors(spec)
        self.spec = spec
        num_objects = int(generator.integers(1, 7))
        shape = num_images, len(self.priors)
        logits = generator.normal(-1, 2, (*shape, spec.num_classes + 1))
        self.logits = torch.tensor(logits, dtype=torch.float32)
        self.offsets = torch.tensor(generator.normal(0, 1, (*shape, 4)), dtype=torch.float32)
        low = generator.uniform(0, 0.8, (num_images, num_objects, 2))
        sides = generator.uniform(0.01, 0.4, (num_images, num_objects, 2))
        boxes = np.concatenate((low, np.minimum(low + sides, 1)), axis=2).astype(np.float32)
        boxes[:, -1] = boxes[:, 0]  # twins
        labels = generator.integers(0, spec.num_classes, (num_images, num_objects))
        self.num_cells = int(generator.integers(1, 12))
        candidates = np.stack([find_candidates(b, spec, self.num_cells) for b in boxes])
        if num_objects > 2:
            labels[0, 1], boxes[0, 1], candidates[0, 1] = -1, 0, -1  # fills up
        self.boxes, self.labels = torch.from_numpy(boxes), torch.from_numpy(labels)
        self.candidates = torch.from_numpy(candidates)

    def assign(self, images: Any = slice(None), **keys: Any) -> TargetTensors:
        num = len(self.logits[images])
        return align_tasks(
            self.logits[images],
            self.offsets[images],
            background(num, len(self.priors)),
            self.boxes[images],
            self.labels[images],
            self.candidates[images],
            torch.tensor(self.priors),
            self.spec.variances,
            AssignmentConfig(method='tal', **keys),
        )

    def assign_by_loops(self, image: int, topk: int) -> tuple[dict[int, int], dict[int, float]]:
        """Map positive priors of an image to their object and quality, as the paper does."""
        decoded = decode_boxes(self.offsets[image].numpy(), self.priors, self.spec.variances)
        logits = self.logits[image].double().numpy()
        aligned: dict[tuple[int, int], float] = {}
        claims: dict[int, tuple[float, int]] = {}
        for index, label in enumerate(self.labels[image].tolist()):
            rows = []
            for prior in self.candidates[image, index].tolist() if label >= 0 else ():
                if prior < 0:
                    continue
                box = self.boxes[image, index].numpy()[None]
                iou = float(box_ops.box_iou(decoded[prior][None].astype(np.float32), box)[0, 0])
                margin = logits[prior, label + 1] - logits[prior, 0]
                metric = iou**6 / (1 + np.exp(-margin))
                aligned[index, prior] = metric
                rows.append((-metric, iou, prior))
            for metric, iou, prior in sorted(rows, key=lambda row: row[0])[:topk]:
                if metric < 0 and (-iou, index) < claims.get(prior, (0, 0)):
                    claims[prior] = (-iou, index)
        quality = {}
        for prior, (_, index) in claims.items():
            mine = [p for p, (_, owner) in claims.items() if owner == index]
            best_iou = max(-claims[p][0] for p in mine)
            best = max(aligned[index, p] for p in mine)
            quality[prior] = aligned[index, prior] / best * best_iou
        return {prior: index for prior, (_, index) in claims.items()}, quality


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), topk=st.integers(1, 14))
def test_assignment_equals_plain_loops(seed: int, topk: int, spec: ModelSpec) -> None:
    case = Case(spec, seed)
    actual = case.assign(tal_topk=topk)
    assert actual.quality is not None
    for image in range(2):
        owners, quality = case.assign_by_loops(image, topk)
        positive = actual.classes[image].nonzero()[:, 0].tolist()
        assert set(positive) == {p for p in owners if quality[p] >= 1e-30} | set(positive)
        for prior in positive:
            label = case.labels[image, owners[prior]]
            assert actual.classes[image, prior] == label + 1
            assert actual.quality[image, prior].item() == pytest.approx(
                quality[prior], rel=1e-3, abs=1e-6
            )
            box = decode_boxes(
                actual.offsets[image, prior].numpy()[None],
                case.priors[prior][None],
                spec.variances,
            )
            expected = case.boxes[image, owners[prior]].numpy()
            np.testing.assert_allclose(box[0], expected, atol=1e-5)
        is_background = actual.classes[image] == 0
        assert not actual.quality[image][is_background].any()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_assignment_does_not_depend_on_the_batch(seed: int, spec: ModelSpec) -> None:
    """Not on the other images, and not on how many objects fill up."""
    case = Case(spec, seed, num_images=3)
    whole = case.assign()
    parts = [case.assign(slice(i, i + 1)) for i in range(3)]
    case.boxes = torch.nn.functional.pad(case.boxes, (0, 0, 0, 4))
    case.labels = torch.nn.functional.pad(case.labels, (0, 4), value=-1)
    case.candidates = torch.nn.functional.pad(case.candidates, (0, 0, 0, 4), value=-1)
    padded = case.assign()
    for name in ('classes', 'offsets', 'quality'):  # up to the last bits of powers
        expected = getattr(whole, name)
        joined = torch.cat([getattr(part, name) for part in parts])
        torch.testing.assert_close(joined, expected, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(getattr(padded, name), expected, rtol=1e-5, atol=1e-7)


def test_half_precision_heads_are_assigned_in_float32(spec: ModelSpec) -> None:
    case = Case(spec, 5)
    case.logits, case.offsets = case.logits.bfloat16().float(), case.offsets.bfloat16().float()
    expected = case.assign()
    case.logits, case.offsets = case.logits.bfloat16(), case.offsets.bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        actual = case.assign()
    assert expected.quality is not None
    assert expected.quality.any()
    for name in ('classes', 'offsets', 'quality'):
        assert torch.equal(getattr(actual, name), getattr(expected, name))


@pytest.mark.parametrize('scale', [0.0, 1e4, 1e30])
def test_diverged_heads_have_finite_targets(spec: ModelSpec, scale: float) -> None:
    case = Case(spec, 1)
    case.logits *= scale
    case.offsets *= scale
    actual = case.assign()
    assert actual.quality is not None
    assert ((actual.quality >= 0) & (actual.quality <= 1)).all()
    assert torch.isfinite(actual.offsets).all()


def test_ignored_priors_stay_ignored_unless_they_are_assigned(spec: ModelSpec) -> None:
    case = Case(spec, 2, num_images=1)
    plain = case.assign()
    ignored = background(1, len(case.priors))
    ignored.classes[:] = -1
    actual = align_tasks(
        case.logits,
        case.offsets,
        ignored,
        case.boxes,
        case.labels,
        case.candidates,
        torch.tensor(case.priors),
        spec.variances,
        AssignmentConfig(method='tal'),
    )
    assert (plain.classes > 0).any()
    assert torch.equal(actual.classes, torch.where(plain.classes > 0, plain.classes, -1))
    assert (ignored.classes == -1).all()
