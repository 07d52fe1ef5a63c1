"""The accuracy gate: what passes, and which kinds of damage it refuses."""

from collections.abc import Callable
import copy
from dataclasses import replace
from typing import Any

from mnssd_perception.bundle import GateVerdict
from mnssd_perception.detector import Detector
from mnssd_perception.engines import open_onnx
from mnssd_perception.ssd import Detections, Thresholds
from mnssd_training.config import GateConfig
from mnssd_training.data import Sample
from mnssd_training.evaluation import detect_samples
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
import numpy as np
import pytest
import torch

THRESHOLDS = Thresholds(score=0.3, max_detections=20)
# A network of random numbers finds none of the objects.
CONFIG = GateConfig(min_map50=0)
EXACT = choose_limits(CONFIG, 'fp32')


@pytest.fixture(scope='module')
def samples(train_samples: list[Sample], val_samples: list[Sample]) -> list[Sample]:
    return train_samples + val_samples


@pytest.fixture(scope='module')
def reference(model: MobileNetSsd, samples: list[Sample]) -> Reference:
    return make_reference(TorchEngine(model), samples, THRESHOLDS)


@pytest.fixture(scope='module')
def exact(reference: Reference, model: MobileNetSsd) -> Reference:
    """A reference to whose annotations the network is perfect: they are its own detections."""
    detections = [select(item, THRESHOLDS) for item in reference.detections]
    samples = [
        replace(sample, boxes=item.boxes, labels=item.labels)
        for sample, item in zip(reference.samples, detections)
    ]
    return make_reference(TorchEngine(model), samples, THRESHOLDS)


# --- what passes -----------------------------------------------------------------------------


def test_the_exported_network_passes(reference: Reference, exported: bytes, samples: Any) -> None:
    engine = open_onnx(reference_spec(reference, exported), exported, 'onnxruntime')
    done = []
    report = check_artefact(reference, engine, EXACT, done.append)
    verdict = report.verdict
    assert (verdict.passed, verdict.reasons, verdict.num_changed) == (True, (), 0)
    assert verdict.num_images == len(samples) == sum(done)
    assert verdict.num_detections == sum(map(len, report.detections)) > 20
    assert verdict.scored_with == str(engine.info)
    assert verdict.dataset_digest == reference.dataset_digest
    assert report.changed_images == ()


def reference_spec(reference: Reference, network: bytes) -> Any:
    from mnssd_training.export import read_spec

    return read_spec('network.onnx', network)  # type: ignore[arg-type]


def test_a_perfect_network_scores_one(exact: Reference, model: MobileNetSsd) -> None:
    assert exact.scores.map50 == pytest.approx(1, abs=0.02)
    verdict = check_artefact(
        exact, TorchEngine(model), choose_limits(GateConfig(), 'fp32')
    ).verdict
    assert verdict.passed
    assert verdict.drop == 0


def test_stricter_thresholds_select_what_the_detector_would_return(
    model: MobileNetSsd, samples: list[Sample], reference: Reference
) -> None:
    directly = detect_samples(Detector(TorchEngine(model), THRESHOLDS), samples)
    selected = [select(item, THRESHOLDS) for item in reference.detections]
    assert sum(map(len, directly)) > 20
    for one, other in zip(directly, selected, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_no_images_and_no_detections(model: MobileNetSsd, samples: list[Sample]) -> None:
    empty = make_reference(TorchEngine(model), [], THRESHOLDS)
    assert check_artefact(empty, TorchEngine(model), EXACT).verdict.passed
    strict = make_reference(TorchEngine(model), samples[:2], Thresholds(0.999))
    verdict = check_artefact(strict, TorchEngine(model), EXACT).verdict
    assert (verdict.passed, verdict.num_detections) == (True, 0)


# --- damage ----------------------------------------------------------------------------------


def with_other_normalization(model: MobileNetSsd) -> None:
    model.mean.zero_()
    model.std.fill_(1)


def with_swapped_channels(model: MobileNetSsd) -> None:
    weight = next(layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)).weight
    weight.copy_(weight.flip(1))


def with_zeroed_head(model: MobileNetSsd) -> None:
    for layer in model.logits.prediction_layers():
        layer.weight.zero_()
        layer.bias.zero_()


def with_zeroed_offsets(model: MobileNetSsd) -> None:
    for layer in model.offsets.prediction_layers():
        layer.weight.zero_()
        layer.bias.zero_()


def with_stale_weights(model: MobileNetSsd) -> None:
    """As after another few epochs: every weight is a little different."""
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.add_(0.1 * weight.abs() * torch.randn(weight.shape, generator=generator))


DAMAGE = [
    with_other_normalization, with_swapped_channels, with_zeroed_head, with_zeroed_offsets,
    with_stale_weights,
]  # fmt: skip


@pytest.mark.parametrize('damage', DAMAGE)
@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'bf16', 'int8'])
def test_each_kind_of_damage_is_refused(
    exact: Reference,
    model: MobileNetSsd,
    damage: Callable[[MobileNetSsd], None],
    precision: str,
) -> None:
    damaged = copy.deepcopy(model)
    with torch.no_grad():
        damage(damaged)
    report = check_artefact(exact, TorchEngine(damaged), choose_limits(CONFIG, precision))
    assert not report.verdict.passed
    assert report.verdict.reasons
    if precision == 'fp32':
        assert any('none of' in reason for reason in report.verdict.reasons)
        assert report.changed_images


def test_an_untrained_network_is_refused_although_the_export_equals_it(
    reference: Reference, model: MobileNetSsd
) -> None:
    report = check_artefact(reference, TorchEngine(model), choose_limits(GateConfig(), 'fp32'))
    (reason,) = report.verdict.reasons
    assert 'expected a mean AP@0.5 of at least 0.05, got 0.0' in reason


def test_scores_that_are_not_numbers_are_refused() -> None:
    nan = float('nan')
    verdict = GateVerdict(True, (), '', 1, '', nan, nan, 0, 0)
    assert len(_broken_limits(verdict, choose_limits(GateConfig(), 'int8'), 0)) == 2


# --- changed detections ------------------------------------------------------------------------


def detections(*items: tuple[float, float], label: int = 0) -> Detections:
    """Make boxes of 10 x 10 pixels from (left edge, score)."""
    boxes = np.array([[x, 0, x + 10, 10] for x, _ in items], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in items], np.float32)
    return Detections(boxes, scores, np.full(len(items), label, np.int64))


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
        (EXACT, [(0, 0.3004)], [(0, 0.2997)], (0, 0)),  # crosses the threshold
        (EXACT, [(0, 0.2997)], [(0, 0.3004)], (0, 0)),
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
    image = _compare('a', detections(*expected), detections(*found), 0.3, limits)
    assert (image.num_missing, image.num_unexpected) == changes


def test_detection_of_another_class_is_a_change() -> None:
    image = _compare('a', detections((0, 0.9)), detections((0, 0.9), label=1), 0.3, LOOSE)
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
    verdict = GateVerdict(True, (), '', 1, '', map50, 0.5, 50, num_changed)
    limits = GateLimits(1.0, 0.05, 0.5, 0.25, 0.1)
    assert len(_broken_limits(verdict, limits, 100)) == broken
