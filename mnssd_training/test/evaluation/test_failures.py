"""Failures of a detector: their types, their order and their images."""

from collections.abc import Callable
from typing import Any

from mnssd_training.evaluation.confusion import match_samples
from mnssd_training.evaluation.failures import (
    CROP_SIDE,
    DETECTION,
    draw_failure,
    Failure,
    FAILURE_TYPES,
    GROUND_TRUTH,
    hard_negatives,
    worst_failures,
)
import numpy as np

Make = Callable[..., Any]
A, B, C = (0, 0, 100, 100), (200, 0, 300, 100), (400, 0, 420, 20)
SHIFTED_A = (60, 0, 160, 100)  # IoU 0.25
ELSEWHERE = (500, 300, 600, 400)


def worst(samples: Any, found: Any, **options: Any) -> dict[str, list[Failure]]:
    matches = match_samples(samples, found, 0.5)
    return worst_failures(samples, found, matches, **options)  # type: ignore[return-value]


def test_no_images() -> None:
    assert worst([], []) == {name: [] for name in FAILURE_TYPES}


def test_every_type(make_sample: Make, found: Make) -> None:
    sample = make_sample([A, B, C], [0, 1, 0])
    detections = found(
        [A, (2, 0, 102, 100), B, SHIFTED_A, ELSEWHERE, C],
        [0.9, 0.8, 0.75, 0.7, 0.6, 0.3],
        [0, 0, 0, 0, 1, 0],
    )
    by_type = worst([sample], [detections])
    assert {name: [f.detection for f in some] for name, some in by_type.items()} == {
        'false alarm': [4], 'bad box': [3], 'double': [1], 'confusion': [2], 'missed': [None],
    }  # fmt: skip
    (missed,) = by_type['missed']
    assert (missed.object, missed.iou) == (2, 1.0)
    assert abs(missed.score - 0.3) < 1e-6  # it was detected with too low a score


def test_hard_negatives_are_all_false_positives_in_the_background(
    make_sample: Make, found: Make
) -> None:
    samples = [make_sample([A], [0], name='a'), make_sample(name='b')]
    boxes = [(100 * i, 300, 100 * i + 50, 350) for i in range(5)]
    detections = [found([A, SHIFTED_A], [0.9, 0.8], [0, 0]), found(boxes, np.linspace(0.6, 1, 5))]
    matches = match_samples(samples, detections, 0.65)
    negatives = hard_negatives(samples, detections, matches, ('Person', 'Car'))
    assert [negative.image for negative in negatives] == ['b'] * 4
    assert [negative.box for negative in negatives] == [tuple(map(float, b)) for b in boxes[:0:-1]]
    assert {negative.class_name for negative in negatives} == {'Person'}
    assert hard_negatives([], [], [], ()) == ()


def test_highest_scores_come_first_with_at_most_two_of_an_image(
    make_sample: Make, found: Make
) -> None:
    samples = [make_sample() for _ in range(4)]
    boxes = [(100 * i, 0, 100 * i + 50, 50) for i in range(5)]
    detections = [found(boxes, np.linspace(0.9 + 0.02 * n, 0.6, 5)) for n in range(4)]
    failures = worst(samples, detections, num_per_type=7)['false alarm']
    assert [failure.sample for failure in failures[:2]] == [3, 2]
    assert len(failures) == 7
    assert max([failure.sample for failure in failures].count(n) for n in range(4)) == 2
    scores = [failure.score for failure in failures]
    assert scores == sorted(scores, reverse=True)


def test_the_largest_missed_objects_come_first(make_sample: Make, found: Make) -> None:
    missed = worst([make_sample([C, A], [0, 0])], [found()])['missed']
    assert [failure.object for failure in missed] == [1, 0]


def is_drawn(crop: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((crop == colour).all(axis=2).sum() > 100)


def test_the_object_and_the_detection_are_drawn(make_sample: Make, found: Make) -> None:
    image = np.full((512, 640, 3), 60, np.uint8)
    before = image.copy()
    sample = make_sample([A, B], [0, 0])
    detections = found([SHIFTED_A], [0.9])
    for failure, has_object, has_detection in (
        (Failure('bad box', 0, 0, 0, 0.9, 0.25), True, True),
        (Failure('false alarm', 0, 0, None, 0.9, 0.0), False, True),
        (Failure('missed', 0, None, 1, 0.0, 0.0), True, False),
    ):
        crop = draw_failure(image, sample, detections, failure)
        assert (crop.shape, crop.dtype) == ((CROP_SIDE, CROP_SIDE, 3), np.uint8)
        assert is_drawn(crop, GROUND_TRUTH) is has_object
        assert is_drawn(crop, DETECTION) is has_detection
    np.testing.assert_array_equal(image, before)


def test_failures_at_the_edge_and_in_images_of_any_size(make_sample: Make, found: Make) -> None:
    sample = make_sample([(0, 0, 3, 2)], [0], size=(4, 4))
    failure = Failure('missed', 0, None, 0, 0.0, 0.0)
    crop = draw_failure(np.zeros((4, 4, 3), np.uint8), sample, found(), failure)
    assert crop.shape == (CROP_SIDE, CROP_SIDE, 3)
    wide = make_sample([(0, 0, 4000, 3000)], [0], size=(3000, 4000))
    crop = draw_failure(np.zeros((3000, 4000, 3), np.uint8), wide, found(), failure)
    assert is_drawn(crop, GROUND_TRUTH)
