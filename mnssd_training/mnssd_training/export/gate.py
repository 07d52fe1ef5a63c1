"""
The accuracy gate: an artefact is exported only if it detects what the checkpoint detects.

Both are run by the detector of the drone on the whole validation set, once, at a low score
threshold. Two things are compared: average precision, and the detections themselves, image by
image. Average precision alone would pass another network that is as good, such as the weights of
an earlier run; the detections alone would pass a network that was never trained.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mnssd_perception.bundle import GateVerdict
from mnssd_perception.detector import Detector
from mnssd_perception.engines import Engine
from mnssd_perception.matching import match_detections
from mnssd_perception.ssd import Detections, Thresholds
from mnssd_perception.ssd.thresholds import MAX_CANDIDATES
from mnssd_training.config import GateConfig
from mnssd_training.data.sample import Sample
from mnssd_training.evaluation import detect_samples, evaluate_detections, Scores, SCORING
from mnssd_training.export.provenance import dataset_digest
import numpy as np

Progress = Callable[[int], object]  # is called with the number of images done


@dataclass(frozen=True)
class Reference:
    """
    What the checkpoint detects on the validation set.

    :ivar thresholds: the defaults of the model, under which detections are compared.
    :ivar detections: of each sample, at the score threshold of average precision.
    :ivar scored_with: the engine that ran it.
    """

    samples: Sequence[Sample]
    class_names: tuple[str, ...]
    thresholds: Thresholds
    detections: Sequence[Detections]
    scores: Scores
    dataset_digest: str
    scored_with: str


@dataclass(frozen=True)
class GateLimits:
    """
    What an artefact of some precision may lose.

    :ivar max_drop: of mean AP@0.5, points (hundredths).
    :ivar min_map50: smallest mean AP@0.5, 0 to 1.
    :ivar min_iou: of a detection with that of the checkpoint, else it counts as changed.
    :ivar max_score_difference: the same for the scores.
    :ivar max_changed: share of the detections at the default thresholds, 0 to 1.
    """

    max_drop: float
    min_map50: float
    min_iou: float
    max_score_difference: float
    max_changed: float


@dataclass(frozen=True)
class ChangedImage:
    """Numbers of detections of an image that only the checkpoint or only the artefact has."""

    name: str
    num_missing: int
    num_unexpected: int


@dataclass(frozen=True)
class GateReport:
    """
    Comparison of an artefact with the checkpoint.

    :ivar detections: of the artefact, of each sample, at the default thresholds.
    :ivar changed_images: the most changed first.
    """

    verdict: GateVerdict
    limits: GateLimits
    scores: Scores
    reference_scores: Scores
    detections: Sequence[Detections]
    changed_images: tuple[ChangedImage, ...]


def choose_limits(config: GateConfig, precision: str) -> GateLimits:
    """
    Choose the limits of an artefact by its precision.

    What counts as a changed detection was measured with the shipped network on the 224 images of
    its validation set; docs/export.md holds the figures.
    """
    if precision == 'int8':
        drop, changed = config.max_drop_int8, config.max_changed_int8
        return GateLimits(drop, config.min_map50, 0.5, 0.25, changed)
    drop, changed = config.max_drop_fp16, config.max_changed_fp16
    if precision == 'fp32':
        return GateLimits(drop, config.min_map50, 0.99, 1e-3, 0.0)
    return GateLimits(drop, config.min_map50, 0.7, 0.1, changed)


def make_reference(
    engine: Engine,
    samples: Sequence[Sample],
    thresholds: Thresholds,
    progress: Progress | None = None,
) -> Reference:
    """
    Run the checkpoint on the validation set.

    :param engine: that runs the checkpoint in PyTorch.
    :param thresholds: the defaults of the model.
    """
    detections = _detect(engine, samples, thresholds, progress)
    names = engine.spec.class_names
    scores = _score(samples, detections, names)
    digest = dataset_digest(samples)
    return Reference(samples, names, thresholds, detections, scores, digest, str(engine.info))


def check_artefact(
    reference: Reference, engine: Engine, limits: GateLimits, progress: Progress | None = None
) -> GateReport:
    """
    Compare an artefact, run by an engine, with the checkpoint.

    :raises EngineError: if the engine fails.
    :raises SpecError: if there are no samples.
    """
    thresholds = reference.thresholds
    all_detections = _detect(engine, reference.samples, thresholds, progress)
    scores = _score(reference.samples, all_detections, reference.class_names)
    changed = [
        _compare(sample.name, expected, detections, thresholds, limits)
        for sample, expected, detections in zip(
            reference.samples, reference.detections, all_detections
        )
    ]
    changed.sort(key=lambda image: -(image.num_missing + image.num_unexpected))
    changed_images = tuple(image for image in changed if image.num_missing + image.num_unexpected)
    detections = [select(item, thresholds) for item in all_detections]
    num_expected = sum(len(select(item, thresholds)) for item in reference.detections)
    num_changed = sum(image.num_missing + image.num_unexpected for image in changed_images)
    verdict = GateVerdict(
        passed=True,
        reasons=(),
        scored_with=str(engine.info),
        num_images=len(reference.samples),
        dataset_digest=reference.dataset_digest,
        map50=scores.map50,
        map50_checkpoint=reference.scores.map50,
        num_detections=num_expected,
        num_changed=num_changed,
    )
    reasons = tuple(_broken_limits(verdict, limits, num_expected + sum(map(len, detections))))
    verdict = replace(verdict, passed=not reasons, reasons=reasons)
    return GateReport(verdict, limits, scores, reference.scores, detections, changed_images)


def select(detections: Detections, thresholds: Thresholds) -> Detections:
    """
    Select what a detector would return under stricter thresholds of score and number.

    Suppression takes the best first, so worse detections have no influence on better ones.
    """
    num = min(int((detections.scores >= thresholds.score).sum()), thresholds.max_detections)
    return Detections(detections.boxes[:num], detections.scores[:num], detections.labels[:num])


def _detect(
    engine: Engine, samples: Sequence[Sample], thresholds: Thresholds, progress: Progress | None
) -> list[Detections]:
    """Detect at once for average precision and for the comparison."""
    low = Thresholds(
        min(SCORING.score, thresholds.score),
        thresholds.iou,
        # More than are compared: of two detections of one score, either may be the last one.
        min(2 * max(SCORING.max_detections, thresholds.max_detections), MAX_CANDIDATES),
    )
    return detect_samples(Detector(engine, low), samples, progress)


def _score(
    samples: Sequence[Sample], detections: Sequence[Detections], class_names: Sequence[str]
) -> Scores:
    scored = [select(item, SCORING) for item in detections]
    return evaluate_detections(samples, scored, class_names)


def _compare(
    name: str,
    expected: Detections,
    detections: Detections,
    thresholds: Thresholds,
    limits: GateLimits,
) -> ChangedImage:
    """
    Count the detections at some thresholds that have no match in the other set.

    The match may be below them: a score that crosses the threshold, or the last one of those that
    are reported, by less than the tolerance is no change.
    """
    differences = np.abs(expected.scores[:, None] - detections.scores)
    matched = match_detections(
        detections,
        expected.boxes,
        expected.labels,
        iou_threshold=limits.min_iou,
        allowed=differences <= limits.max_score_difference,
    ).true_positives

    def count(one: Detections, indices: np.ndarray) -> int:
        return len(np.setdiff1d(np.arange(len(select(one, thresholds))), indices))

    return ChangedImage(name, count(expected, matched[:, 0]), count(detections, matched[:, 1]))


def _broken_limits(verdict: GateVerdict, limits: GateLimits, num_both: int) -> list[str]:
    reasons = []
    if not verdict.map50 >= limits.min_map50:
        reasons.append(
            f'expected a mean AP@0.5 of at least {limits.min_map50:g}, got {verdict.map50:.4f}'
        )
    if not verdict.drop <= limits.max_drop:
        reasons.append(
            f'expected to lose at most {limits.max_drop:g} points of mean AP@0.5, '
            f'lost {verdict.drop:.2f}'
        )
    if verdict.num_changed > limits.max_changed * num_both:
        allowed = f'at most {limits.max_changed:.0%} of' if limits.max_changed else 'none of'
        reasons.append(
            f'expected {allowed} {num_both} detections of both to change, '
            f'got {verdict.num_changed} that lack a match of IoU {limits.min_iou:g} with a score '
            f'within {limits.max_score_difference:g}'
        )
    return reasons
