"""VOC average precision against small cases by hand and against plain loops."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_perception.ssd import Detections
from mnssd_training.data import Sample
from mnssd_training.data.sample import ANY_CLASS
from mnssd_training.evaluation import average_precision, voc_ap
import numpy as np
import pytest

A, B = (10, 10, 50, 50), (100, 100, 160, 140)
NEAR_A = (12, 10, 52, 50)  # IoU 0.90
ELSEWHERE = (300, 300, 340, 340)


def found(boxes: Any = (), scores: Any = (), labels: Any = None) -> Detections:
    labels = [0] * len(scores) if labels is None else labels
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(labels, np.int64),
    )


# --- by hand ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('boxes', 'ap'),
    [
        ([], 0.0),
        ([A], 0.5),
        ([A, B], 1.0),
        ([ELSEWHERE, A, B], 2 / 3),  # the envelope lifts 1/2 to 2/3
        ([A, ELSEWHERE, B], 0.5 * 1 + 0.5 * 2 / 3),
        ([A, A, B], 0.5 * 1 + 0.5 * 2 / 3),  # the second of an object is wrong
        ([A, NEAR_A], 0.5),
        ([ELSEWHERE], 0.0),
        ([(10, 10, 50, 30), B], 1.0),  # IoU of exactly 0.5 is enough
        ([(10, 10, 50, 29.9), B], 0.25),
    ],
)
def test_average_precision_by_hand(
    make_sample: Callable[..., Sample], boxes: list[Any], ap: float
) -> None:
    scores = np.linspace(0.9, 0.1, len(boxes))
    result = voc_ap([make_sample([A, B], [0, 0])], [found(boxes, scores)], 1)[0]
    assert result.ap == pytest.approx(ap)
    assert result.num_objects == 2
    assert len(result.recall) == len(result.precision) == len(boxes)


def test_detections_of_all_images_are_ranked_together(make_sample: Callable[..., Sample]) -> None:
    samples = [make_sample([A], [0]), make_sample([B], [0])]
    mixed = [found([A, ELSEWHERE], [0.5, 0.4]), found([ELSEWHERE, B], [0.9, 0.45])]
    result = voc_ap(samples, mixed, 1)[0]
    np.testing.assert_allclose(result.precision, [0, 1 / 2, 2 / 3, 2 / 4])
    np.testing.assert_allclose(result.recall, [0, 1 / 2, 1, 1])


def test_classes_do_not_mix(make_sample: Callable[..., Sample]) -> None:
    results = voc_ap([make_sample([A, B], [0, 1])], [found([A, B], [0.9, 0.8], [1, 1])], 3)
    assert [result.ap for result in results[:2]] == [0.0, 0.5]
    assert np.isnan(results[2].ap)
    assert [result.num_objects for result in results] == [1, 1, 0]


def test_no_objects_and_no_detections(make_sample: Callable[..., Sample]) -> None:
    result = voc_ap([make_sample()], [found()], 1)[0]
    assert np.isnan(result.ap)
    assert voc_ap([], [], 2)[1].num_objects == 0


# --- ignore regions --------------------------------------------------------------------------


@pytest.mark.parametrize('label', [0, ANY_CLASS])
def test_a_detection_in_an_ignore_region_is_not_counted(
    make_sample: Callable[..., Sample], label: int
) -> None:
    sample = make_sample([A], [0], [(290, 290, 400, 400)], [label])
    result = voc_ap([sample], [found([ELSEWHERE, A, ELSEWHERE], [0.9, 0.5, 0.4])], 1)[0]
    assert (result.ap, result.num_objects) == (1.0, 1)
    assert len(result.recall) == 1


def test_an_ignore_region_of_another_class_has_no_effect(
    make_sample: Callable[..., Sample],
) -> None:
    sample = make_sample([A], [0], [ELSEWHERE], [1])
    results = voc_ap([sample], [found([ELSEWHERE, A], [0.9, 0.5])], 2)
    assert results[0].ap == 0.5
    assert np.isnan(results[1].ap)


def test_an_ignore_region_without_detections_has_no_effect(
    make_sample: Callable[..., Sample],
) -> None:
    sample = make_sample([A], [0], [ELSEWHERE, B], [0, ANY_CLASS])
    assert voc_ap([sample], [found([A], [0.9])], 1)[0].ap == 1.0


def test_half_of_the_detection_must_lie_in_the_ignore_region(
    make_sample: Callable[..., Sample],
) -> None:
    sample = make_sample([A], [0], [(300, 300, 320, 400)], [ANY_CLASS])
    assert voc_ap([sample], [found([(300, 300, 340, 340), A], [0.9, 0.5])], 1)[0].ap == 1.0
    assert voc_ap([sample], [found([(301, 300, 341, 340), A], [0.9, 0.5])], 1)[0].ap == 0.5


def test_an_object_in_an_ignore_region_is_counted(make_sample: Callable[..., Sample]) -> None:
    sample = make_sample([A], [0], [(0, 0, 200, 200)], [ANY_CLASS])
    result = voc_ap([sample], [found([A, NEAR_A], [0.9, 0.8])], 1)[0]
    assert (result.ap, result.num_objects) == (1.0, 1)
    assert result.precision.tolist() == [1.0, 0.5]  # its second detection is wrong nevertheless


# --- interpolation ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('interpolation', 'ap'),
    [
        ('all', 0.5 * 1 + 0.5 * 2 / 3),
        ('11', (6 * 1 + 5 * 2 / 3) / 11),
        ('101', (51 + 50 * 2 / 3) / 101),
    ],
)
def test_interpolations_by_hand(interpolation: Any, ap: float) -> None:
    recall, precision = np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 2 / 3])
    assert average_precision(recall, precision, interpolation) == pytest.approx(ap)
    assert average_precision(np.zeros(0), np.zeros(0), interpolation) == 0.0
    assert average_precision(np.ones(1), np.ones(1), interpolation) == pytest.approx(1.0)


# --- against plain loops ---------------------------------------------------------------------


def plain_iou(a: Any, b: Any) -> float:
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = wide * high
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def plain_inside(a: Any, region: Any) -> float:
    wide = max(0.0, min(a[2], region[2]) - max(a[0], region[0]))
    high = max(0.0, min(a[3], region[3]) - max(a[1], region[1]))
    return wide * high / ((a[2] - a[0]) * (a[3] - a[1]))


def plain_voc(samples: list[Sample], detections: list[Detections], label: int) -> float:
    """Score one class the way the devkit tells it, a detection at a time."""
    ranked = sorted(
        (
            (float(score), index, box)
            for index, one in enumerate(detections)
            for box, score, own in zip(one.boxes.tolist(), one.scores, one.labels, strict=True)
            if own == label
        ),
        key=lambda entry: -entry[0],
    )
    num = sum(int((sample.labels == label).sum()) for sample in samples)
    taken: set[tuple[int, int]] = set()
    right = wrong = 0
    curve = []
    for _, index, box in ranked:
        sample = samples[index]
        best, best_iou = -1, -1.0
        for number, (other, own) in enumerate(
            zip(sample.boxes.tolist(), sample.labels, strict=True)
        ):
            if own == label and plain_iou(box, other) > best_iou:
                best, best_iou = number, plain_iou(box, other)
        if best_iou >= 0.5:
            if (index, best) in taken:
                wrong += 1
            else:
                taken.add((index, best))
                right += 1
        elif any(
            own in (label, ANY_CLASS) and plain_inside(box, region) >= 0.5
            for region, own in zip(sample.ignore.tolist(), sample.ignore_labels, strict=True)
        ):
            continue
        else:
            wrong += 1
        curve.append((right / num if num else 0.0, right / (right + wrong)))
    if not num:
        return float('nan')
    ap, reached = 0.0, 0.0
    for index, (recall, _) in enumerate(curve):
        ap += (recall - reached) * max(precision for _, precision in curve[index:])
        reached = recall
    return ap


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), crowd=st.integers(1, 12))
def test_random_scenes_agree_with_plain_loops(seed: int, crowd: int) -> None:
    generator = np.random.default_rng(seed)
    samples, detections = random_scenes(generator, crowd)
    for label, result in enumerate(voc_ap(samples, detections, 2)):
        assert result.ap == pytest.approx(plain_voc(samples, detections, label), nan_ok=True)


def random_scenes(
    generator: np.random.Generator, crowd: int
) -> tuple[list[Sample], list[Detections]]:
    """Crowded images, with detections near the objects, in regions and anywhere."""
    samples, detections = [], []
    for _ in range(3):
        boxes, ignore = random_boxes(generator, crowd), random_boxes(generator, 2)
        near = boxes[generator.integers(0, len(boxes), crowd)]
        near = near + generator.integers(-4, 5, near.shape)
        every = np.concatenate((near, random_boxes(generator, 3), ignore + 1)).astype(np.float32)
        scores = np.sort(generator.choice(1000, len(every), replace=False) / 1000)[::-1]
        every = generator.permutation(every)
        samples.append(
            Sample(
                'made_up',
                None,  # type: ignore[arg-type]
                (100, 100),
                boxes,
                generator.integers(0, 2, len(boxes)),
                ignore,
                generator.integers(-1, 2, len(ignore)),
            )
        )
        labels = generator.integers(0, 2, len(every))
        detections.append(Detections(every, scores.astype(np.float32), labels))
    return samples, detections


def random_boxes(generator: np.random.Generator, num: int) -> np.ndarray:
    corner = generator.integers(0, 60, (num, 2))
    sides = generator.integers(10, 40, (num, 2))
    return np.concatenate((corner, corner + sides), axis=1).astype(np.float32)
