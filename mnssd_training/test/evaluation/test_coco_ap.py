"""
COCO average precision, and where it and VOC's must agree.

The two matching rules differ in a crowd. VOC: a detection belongs to the object that it overlaps
most, and is wrong if a better detection has that object. COCO: it may take the next best object
that is still free. Inside an ignore region VOC calls a second detection of an object wrong, COCO
lets the region swallow it. With at most one object within reach of a detection, and no second
detections in regions, they are the same.
"""

from collections.abc import Callable
from typing import Any

from mnssd_perception.ssd import Detections, ModelSpec
from mnssd_training.data import Sample
from mnssd_training.data.sample import ANY_CLASS
from mnssd_training.evaluation import coco_ap, SCORING, voc_ap
import numpy as np
import pytest

NAMES = ('a', 'b', 'c')


def found(boxes: Any = (), scores: Any = (), labels: Any = None) -> Detections:
    labels = [0] * len(scores) if labels is None else labels
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(labels, np.int64),
    )


def scenes(generator: np.random.Generator, make_sample: Callable[..., Sample]) -> Any:
    """Images with objects on a grid, so that none is near another."""
    samples, detections = [], []
    for _ in range(12):
        cells = generator.permutation(64)[: generator.integers(0, 30)]
        corner = np.stack((cells % 8, cells // 8), axis=1) * 64 + generator.integers(
            0, 10, (len(cells), 2)
        )
        boxes = np.concatenate(
            (corner, corner + generator.integers(12, 50, (len(cells), 2))), axis=1
        )
        labels = generator.integers(0, 3, len(cells))
        hidden = generator.random(len(cells)) < 0.15
        jitter = generator.normal(0, 4, boxes.shape)
        seen = (boxes + jitter)[generator.random(len(boxes)) < 0.8]
        seen_labels = labels[generator.random(len(labels)) < 2][: len(seen)]
        everywhere = generator.uniform(0, 500, (8, 2))
        wild = np.concatenate((everywhere, everywhere + generator.uniform(5, 60, (8, 2))), axis=1)
        every = np.concatenate((seen, wild))
        every_labels = np.concatenate((seen_labels, generator.integers(0, 3, 8)))
        ok = (every[:, 2:] > every[:, :2] + 1).all(axis=1)
        scores = np.sort(generator.random(ok.sum()))[::-1]
        order = generator.permutation(ok.sum())
        samples.append(
            make_sample(
                boxes[~hidden],
                labels[~hidden],
                boxes[hidden],
                np.where(generator.random(hidden.sum()) < 0.5, ANY_CLASS, labels[hidden]),
            )
        )
        detections.append(found(every[ok][order], scores, every_labels[ok][order]))
    return samples, detections


def check_agreement(
    samples: list[Sample], detections: list[Detections], names: tuple[str, ...]
) -> None:
    ours = voc_ap(samples, detections, len(names), interpolation='101')
    theirs = coco_ap(samples, detections, names)
    for name, result in zip(names, ours, strict=True):
        expected = theirs.classes[name].ap50
        if result.num_objects:
            assert result.ap == pytest.approx(expected, abs=1e-6)
        else:
            assert expected is None
    counted = [result.ap for result in ours if result.num_objects]
    assert np.mean(counted) == pytest.approx(theirs.ap50, abs=1e-6)


@pytest.mark.parametrize('seed', range(5))
def test_voc_and_coco_agree_where_no_objects_overlap(
    make_sample: Callable[..., Sample], seed: int
) -> None:
    check_agreement(*scenes(np.random.default_rng(seed), make_sample), NAMES)


def test_voc_and_coco_agree_on_jittered_annotations_of_real_images(
    spec: ModelSpec, train_samples: list[Sample], val_samples: list[Sample]
) -> None:
    samples = train_samples + val_samples
    generator = np.random.default_rng(8)
    detections = []
    for sample in samples:
        boxes = np.concatenate([sample.boxes] * 2 + [sample.ignore])
        labels = np.concatenate((sample.labels, sample.labels, sample.ignore_labels.clip(0)))
        boxes = boxes + generator.normal(0, 1.5, boxes.shape)
        scores = np.sort(generator.random(len(boxes)).astype(np.float32))[::-1]
        order = generator.permutation(len(boxes))
        detections.append(found(boxes[order], scores, labels[order]))
    check_agreement(samples, detections, spec.class_names)


def test_all_points_and_101_points_are_close(train_samples: list[Sample], spec: ModelSpec) -> None:
    perfect = [
        found(sample.boxes, np.linspace(1, 0.5, len(sample.boxes)), sample.labels)
        for sample in train_samples
    ]
    for interpolation in ('all', '11', '101'):
        results = voc_ap(
            train_samples, perfect, len(spec.class_names), interpolation=interpolation
        )
        assert [result.ap for result in results] == pytest.approx([1.0] * 4)
    assert coco_ap(train_samples, perfect, spec.class_names).ap == pytest.approx(1.0)


# --- where the rules differ ------------------------------------------------------------------

FIRST, SECOND = (0, 0, 100, 100), (30, 0, 130, 100)  # IoU 0.54
BETWEEN = (10, 0, 110, 100)  # IoU 0.82 with the first, 0.67 with the second


def test_coco_takes_the_next_free_object_and_voc_does_not(
    make_sample: Callable[..., Sample],
) -> None:
    sample = make_sample([FIRST, SECOND], [0, 0])
    detections = found([FIRST, BETWEEN], [0.9, 0.8])
    assert voc_ap([sample], [detections], 1, interpolation='101')[0].ap == pytest.approx(51 / 101)
    assert coco_ap([sample], [detections], NAMES[:1]).ap50 == pytest.approx(1.0)


def test_a_duplicate_in_an_ignore_region_counts_for_voc_and_not_for_coco(
    make_sample: Callable[..., Sample],
) -> None:
    sample = make_sample([FIRST, (300, 300, 340, 340)], [0, 0], [(0, 0, 200, 200)])
    detections = found([FIRST, FIRST, (300, 300, 340, 340)], [0.9, 0.8, 0.7])
    voc = voc_ap([sample], [detections], 1, interpolation='101')[0].ap
    assert voc == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert coco_ap([sample], [detections], NAMES[:1]).ap50 == pytest.approx(1.0)


# --- what is counted -------------------------------------------------------------------------


def test_ap_by_object_size(make_sample: Callable[..., Sample]) -> None:
    boxes = [(0, 0, 20, 20), (100, 0, 150, 50), (200, 0, 350, 150)]
    sample = make_sample(boxes, [0, 0, 0])
    score = coco_ap([sample], [found(boxes[1:], [0.9, 0.8])], NAMES[:1])
    assert (score.ap_small, score.ap_medium, score.ap_large) == pytest.approx((0, 1, 1))
    without_large = coco_ap([make_sample(boxes[:2], [0, 0])], [found()], NAMES[:1])
    assert without_large.ap_large is None


@pytest.mark.parametrize('label', [0, ANY_CLASS])
def test_detections_in_ignore_regions_are_not_counted(
    make_sample: Callable[..., Sample], label: int
) -> None:
    region = (200, 200, 300, 300)
    sample = make_sample([FIRST], [0], [region], [label])
    seen = found([region, (210, 210, 260, 260), FIRST], [0.9, 0.8, 0.7])
    for detections in (seen, found([FIRST], [0.7])):
        assert coco_ap([sample], [detections], NAMES[:1]).ap == pytest.approx(1.0)


def test_no_detections_score_zero(make_sample: Callable[..., Sample]) -> None:
    score = coco_ap([make_sample([FIRST], [1]), make_sample()], [found(), found()], NAMES)
    assert (score.ap, score.ap50, score.classes['b'].ap) == (0.0, 0.0, 0.0)
    assert score.classes['a'].ap is None


def test_no_objects_score_none(make_sample: Callable[..., Sample]) -> None:
    for detections in (found(), found([FIRST], [0.5])):
        score = coco_ap([make_sample()], [detections], NAMES)
        assert score.ap is None
        values = {key: value for one in score.classes.values() for key, value in vars(one).items()}
        assert {value for key, value in values.items() if key[:3] != 'num'} == {None}
        assert {value for key, value in values.items() if key[:3] == 'num'} == {0}
    assert coco_ap([], [], NAMES).ap is None


def test_it_prints_nothing(
    make_sample: Callable[..., Sample], capsys: pytest.CaptureFixture[str]
) -> None:
    coco_ap([make_sample([FIRST], [0])], [found([FIRST], [0.5])], NAMES)
    assert capsys.readouterr() == ('', '')


def test_scoring_keeps_detections_of_low_score() -> None:
    assert SCORING.score <= 0.01
    assert SCORING.max_detections >= 100
