"""The accuracy gate: what passes, and which kinds of damage it refuses."""

from collections.abc import Callable
import copy
from dataclasses import replace

from mnssd_perception.bundle import GateVerdict, shipped_bundle_path
from mnssd_perception.detector import Detector
from mnssd_perception.errors import SpecError
from mnssd_perception.ssd import Detections, Thresholds
from mnssd_training.config import GateConfig
from mnssd_training.data import Sample
from mnssd_training.evaluation import detect_samples
from mnssd_training.export import open_source
from mnssd_training.export.gate import (
    _broken_limits,
    _compare,
    check_artefact,
    choose_limits,
    GateLimits,
    make_reference,
    Reference,
    select,
)
from mnssd_training.model import MobileNetSsd, TorchEngine
from mnssd_training.priors import resize_spec
import numpy as np
import pytest
import torch

THRESHOLDS = Thresholds()
CONFIG = GateConfig()
EXACT = choose_limits(CONFIG, 'fp32')


@pytest.fixture(scope='module')
def shipped() -> MobileNetSsd:
    """The shipped network, for a smaller input: trained weights on images that they know."""
    checkpoint = open_source(str(shipped_bundle_path())).checkpoint
    return replace(checkpoint, spec=resize_spec(checkpoint.spec, (256, 320))).build()


@pytest.fixture(scope='module')
def samples(train_samples: list[Sample], val_samples: list[Sample]) -> list[Sample]:
    return train_samples + val_samples


@pytest.fixture(scope='module')
def reference(shipped: MobileNetSsd, samples: list[Sample]) -> Reference:
    return make_reference(TorchEngine(shipped), samples, THRESHOLDS)


# --- what passes -----------------------------------------------------------------------------


def test_the_same_network_passes(reference: Reference, shipped: MobileNetSsd) -> None:
    engine, done = TorchEngine(shipped), []
    report = check_artefact(reference, engine, EXACT, done.append)
    verdict = report.verdict
    assert (verdict.passed, verdict.reasons, verdict.num_changed) == (True, (), 0)
    assert verdict.map50 == verdict.map50_checkpoint > 0.2
    assert verdict.num_images == 8 == sum(done)
    assert verdict.num_detections == sum(map(len, report.detections)) > 20
    assert verdict.scored_with == str(engine.info)
    assert verdict.dataset_digest == reference.dataset_digest
    assert report.changed_images == ()


def test_stricter_thresholds_select_what_the_detector_would_return(
    shipped: MobileNetSsd, samples: list[Sample], reference: Reference
) -> None:
    directly = detect_samples(Detector(TorchEngine(shipped), THRESHOLDS), samples)
    selected = [select(item, THRESHOLDS) for item in reference.detections]
    assert sum(map(len, directly)) > 20
    for one, other in zip(directly, selected, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_no_images_and_no_detections(shipped: MobileNetSsd, samples: list[Sample]) -> None:
    limits = choose_limits(GateConfig(min_map50=0), 'fp32')
    empty = make_reference(TorchEngine(shipped), [], THRESHOLDS)
    with pytest.raises(SpecError, match='num_images: expected 1 or more'):
        check_artefact(empty, TorchEngine(shipped), limits)
    strict = make_reference(TorchEngine(shipped), samples[:2], Thresholds(0.99999))
    verdict = check_artefact(strict, TorchEngine(shipped), limits).verdict
    assert (verdict.passed, verdict.num_detections) == (True, 0)


# --- damage ----------------------------------------------------------------------------------


def with_other_normalization(model: MobileNetSsd) -> None:
    model.mean.zero_()
    model.scale.fill_(1)


def with_swapped_channels(model: MobileNetSsd) -> None:
    weight = next(layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)).weight
    weight.copy_(weight.flip(1))


def with_zeroed_logits(model: MobileNetSsd) -> None:
    for layer in model.logits.prediction_layers():
        layer.weight.zero_()
        layer.bias.zero_()


def with_zeroed_offsets(model: MobileNetSsd) -> None:
    for layer in model.offsets.prediction_layers():
        layer.weight.zero_()
        layer.bias.zero_()


def with_stale_weights(model: MobileNetSsd) -> None:
    """As of another epoch: each weight differs a little."""
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.add_(0.1 * weight.abs() * torch.randn(weight.shape, generator=generator))


DAMAGE = [
    with_other_normalization, with_zeroed_logits, with_zeroed_offsets, with_stale_weights,
]  # fmt: skip


@pytest.mark.parametrize('damage', [*DAMAGE, with_swapped_channels])
def test_damage_is_refused(
    reference: Reference, shipped: MobileNetSsd, damage: Callable[[MobileNetSsd], None]
) -> None:
    """In fp32 by any change; in int8, with its wide limits, unless the damage changes little."""
    damaged = copy.deepcopy(shipped)
    with torch.no_grad():
        damage(damaged)
    report = check_artefact(reference, TorchEngine(damaged), EXACT)
    assert not report.verdict.passed
    assert any('none of' in reason for reason in report.verdict.reasons)
    assert report.verdict.num_changed > 10
    assert report.changed_images[0].num_missing + report.changed_images[0].num_unexpected > 2
    if damage in DAMAGE:
        limits = choose_limits(CONFIG, 'int8')
        verdict = check_artefact(reference, TorchEngine(damaged), limits).verdict
        assert not verdict.passed
        assert any('to change' in reason for reason in verdict.reasons)


def test_an_untrained_network_is_refused_although_the_export_equals_it(
    model: MobileNetSsd, samples: list[Sample]
) -> None:
    untrained = make_reference(TorchEngine(model), samples, Thresholds(0.3))
    report = check_artefact(untrained, TorchEngine(model), EXACT)
    assert report.verdict.num_changed == 0
    (reason,) = report.verdict.reasons
    assert 'expected a mean AP@0.5 of at least 0.05, got 0.0' in reason


# --- changed detections ------------------------------------------------------------------------


def detections(*items: tuple[float, float], label: int = 0) -> Detections:
    """Make boxes of 10 x 10 pixels from (left edge, score)."""
    boxes = np.array([[x, 0, x + 10, 10] for x, _ in items], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in items], np.float32)
    return Detections(boxes, scores, np.full(len(items), label, np.int64))


DIGEST = f'sha256:{"0" * 64}'
LOOSE = GateLimits(1.0, 0.0, 0.5, 0.25, 0.1)


@pytest.mark.parametrize(
    ('limits', 'expected', 'found', 'changes'),
    [
        (EXACT, [], [], (0, 0)),
        (EXACT, [(0, 0.9)], [(0, 0.9)], (0, 0)),
        (EXACT, [(0, 0.9)], [], (1, 0)),
        (EXACT, [], [(0, 0.9)], (0, 1)),
        (EXACT, [(0, 0.9)], [(0.03, 0.9005)], (0, 0)),
        (EXACT, [(0, 0.9)], [(0.2, 0.9)], (1, 1)),  # IoU 0.96
        (EXACT, [(0, 0.9)], [(0, 0.902)], (1, 1)),
        (EXACT, [(0, 0.3504)], [(0, 0.3497)], (0, 0)),  # crosses the threshold
        (EXACT, [(0, 0.3497)], [(0, 0.3504)], (0, 0)),
        (EXACT, [(0, 0.2)], [], (0, 0)),
        (EXACT, [(0, 0.9), (1, 0.9)], [(0, 0.9)], (1, 0)),
        (LOOSE, [(0, 0.9)], [(3, 0.7)], (0, 0)),
        (LOOSE, [(0, 0.9)], [(0, 0.6)], (1, 1)),
        (LOOSE, [(0, 0.4)], [(0, 0.2)], (0, 0)),
        (LOOSE, [(0, 0.6)], [(0, 0.2)], (1, 0)),
    ],
)
def test_changed_detections(
    limits: GateLimits,
    expected: list[tuple[float, float]],
    found: list[tuple[float, float]],
    changes: tuple[int, int],
) -> None:
    image = _compare('a', detections(*expected), detections(*found), Thresholds(0.35), limits)
    assert (image.num_missing, image.num_unexpected) == changes


def test_detection_of_another_class_is_a_change() -> None:
    image = _compare(
        'a', detections((0, 0.9)), detections((0, 0.9), label=1), Thresholds(0.35), LOOSE
    )
    assert (image.num_missing, image.num_unexpected) == (1, 1)


@pytest.mark.parametrize(('precision', 'max_drop'), [('fp32', 0.1), ('bf16', 0.1), ('int8', 1.0)])
def test_limits_by_precision(precision: str, max_drop: float) -> None:
    limits = choose_limits(GateConfig(), precision)
    assert (limits.max_drop, limits.min_map50) == (max_drop, 0.05)
    assert choose_limits(GateConfig(max_drop_int8=0.5), 'int8').max_drop == 0.5


@pytest.mark.parametrize(
    ('map50', 'num_changed', 'broken'),
    [(0.5, 0, 0), (0.4902, 10, 0), (0.489, 10, 1), (0.5, 11, 1), (0.02, 50, 3)],
)
def test_broken_limits_are_named(map50: float, num_changed: int, broken: int) -> None:
    verdict = GateVerdict(True, (), 'engine', 1, DIGEST, map50, 0.5, 50, num_changed)
    limits = GateLimits(1.0, 0.05, 0.5, 0.25, 0.1)
    assert len(_broken_limits(verdict, limits, 100)) == broken
