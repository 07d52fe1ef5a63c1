"""Our COCO numbers against pycocotools, to 1e-6, on random and on real detections."""

from collections.abc import Callable, Sequence
import contextlib
import io
from pathlib import Path

from mnssd_perception.detector import Detector
from mnssd_perception.ssd import Detections
from mnssd_training.config import SourceConfig
from mnssd_training.data import read_samples, Sample
from mnssd_training.evaluation import coco_ap, CocoMetrics, detect_samples
from mnssd_training.evaluation.coco_ap import coco_annotations, coco_results
import numpy as np
import pytest

Scored = tuple[list[Sample], list[Detections]]
NAMES = ('Person', 'Car', 'Bicycle', 'OtherVehicle')

# The order of COCOeval.stats.
STATISTICS = (
    'ap', 'ap50', 'ap75', 'ap_small', 'ap_medium', 'ap_large',
    'ar_1', 'ar_10', 'ar_100', 'ar_small', 'ar_medium', 'ar_large',
)  # fmt: skip


def official(
    samples: Sequence[Sample], found: Sequence[Detections], names: Sequence[str]
) -> dict[str, float | None]:
    """Score by pycocotools, as its own summary does."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = coco_annotations(samples, names)
        ground_truth.createIndex()
        score = COCOeval(ground_truth, ground_truth.loadRes(coco_results(found)), 'bbox')
        score.evaluate()
        score.accumulate()
        score.summarize()
    return {
        name: None if value < 0 else float(value) for name, value in zip(STATISTICS, score.stats)
    }


def check(samples: list[Sample], found: list[Detections], names: Sequence[str]) -> None:
    """Compare everything over all classes, and with each class alone."""
    ours = coco_ap(samples, found, names)
    compare(ours, official(samples, found, names))
    for label, name in enumerate(names):
        of_class = [
            Detections(one.boxes[own], one.scores[own], one.labels[own])
            for one in found
            if (own := one.labels == label) is not None
        ]
        if any(map(len, of_class)):
            alone = official([only(sample, label) for sample in samples], of_class, names)
            compare(ours.classes[name], alone)


def only(sample: Sample, label: int) -> Sample:
    """Leave the objects of one class; regions stay, for other classes have no object left."""
    own = sample.labels == label
    return Sample(
        sample.name,
        sample.path,
        sample.size,
        sample.boxes[own],
        sample.labels[own],
        sample.ignore,
        sample.ignore_labels,
    )


def compare(ours: CocoMetrics, theirs: dict[str, float | None]) -> None:
    for name in STATISTICS:
        assert getattr(ours, name) == pytest.approx(theirs[name], abs=1e-6), name


@pytest.mark.parametrize('seed', range(4))
def test_random_detections_in_a_crowd(crowded: Callable[..., Scored], seed: int) -> None:
    samples, found = crowded(seed)
    check(samples, found, NAMES[:3])
    assert 0.02 < (coco_ap(samples, found, NAMES[:3]).ap50 or 0) < 0.9


def test_equal_scores(crowded: Callable[..., Scored]) -> None:
    samples, found = crowded(11)
    even = [Detections(one.boxes, one.scores.round(1), one.labels) for one in found]
    check(samples, even, NAMES[:3])


def test_more_detections_than_are_counted(crowded: Callable[..., Scored]) -> None:
    samples, found = crowded(12, num=4, num_classes=1)
    many = [
        Detections(
            np.concatenate([one.boxes] * 6),
            np.concatenate([one.scores * np.float32(0.9**i) for i in range(6)]),
            np.concatenate([one.labels] * 6),
        )
        for one in found
    ]
    assert max(map(len, many)) > 150
    check(samples, many, NAMES[:1])


def test_a_class_without_objects_or_detections(crowded: Callable[..., Scored]) -> None:
    check(*crowded(13, num_classes=2), NAMES)


def test_real_detections(real: Scored) -> None:
    check(*real, NAMES)
    assert (coco_ap(*real, NAMES).ap50 or 0) > 0.4


def test_real_detections_of_a_whole_validation_set(
    shipped_detector: Detector, shared: Path
) -> None:
    samples = read_samples(SourceConfig(root=str(shared / 'data' / 'hit_uav')), 'val', NAMES)[::8]
    check(samples, detect_samples(shipped_detector, samples), NAMES)
