"""The failures that are most worth a look, and their images."""

from collections.abc import Callable
from typing import Any

from mnssd_training.evaluation.confusion import match_samples
from mnssd_training.evaluation.crops import draw_failure, FOUND, SIDE, TRUTH
from mnssd_training.evaluation.failures import Failure, KINDS, worst_failures
import numpy as np

Make = Callable[..., Any]
A, B, C = (0, 0, 100, 100), (200, 0, 300, 100), (400, 0, 420, 20)
SHIFTED_A = (60, 0, 160, 100)  # IoU 0.25
ELSEWHERE = (500, 300, 600, 400)


def kinds(samples: Any, found: Any, **options: Any) -> dict[str, list[Failure]]:
    outcomes = match_samples(samples, found, 0.5)
    return worst_failures(samples, found, outcomes, **options)  # type: ignore[return-value]


def test_nothing() -> None:
    assert kinds([], []) == {kind: [] for kind in KINDS}


def test_every_kind(make_sample: Make, found: Make) -> None:
    sample = make_sample([A, B, C], [0, 1, 0])
    detections = found(
        [A, (2, 0, 102, 100), B, SHIFTED_A, ELSEWHERE, C],
        [0.9, 0.8, 0.75, 0.7, 0.6, 0.3],
        [0, 0, 0, 0, 1, 0],
    )
    worst = kinds([sample], [detections])
    assert {kind: [f.detection for f in some] for kind, some in worst.items()} == {
        'false alarm': [4], 'bad box': [3], 'double': [1], 'confusion': [2], 'missed': [None],
    }  # fmt: skip
    (missed,) = worst['missed']
    assert (missed.object, missed.iou) == (2, 1.0)
    assert abs(missed.score - 0.3) < 1e-6  # it was seen, with too low a score


def test_the_worst_come_first_and_one_photograph_does_not_take_all(
    make_sample: Make, found: Make
) -> None:
    samples = [make_sample() for _ in range(4)]
    boxes = [(100 * i, 0, 100 * i + 50, 50) for i in range(5)]
    seen = [found(boxes, np.linspace(0.9 + 0.02 * n, 0.6, 5)) for n in range(4)]
    worst = kinds(samples, seen, most=7)['false alarm']
    assert [failure.sample for failure in worst[:2]] == [3, 2]
    assert len(worst) == 7
    assert max([failure.sample for failure in worst].count(n) for n in range(4)) == 2
    scores = [failure.score for failure in worst]
    assert scores == sorted(scores, reverse=True)


def test_the_largest_missed_objects_come_first(make_sample: Make, found: Make) -> None:
    worst = kinds([make_sample([C, A], [0, 0])], [found()])['missed']
    assert [failure.object for failure in worst] == [1, 0]


def is_drawn(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=2).sum() > 100)


def test_pictures(make_sample: Make, found: Make) -> None:
    image = np.full((512, 640, 3), 60, np.uint8)
    before = image.copy()
    sample = make_sample([A, B], [0, 0])
    detections = found([SHIFTED_A], [0.9])
    for failure, ground_truth, seen in (
        (Failure('bad box', 0, 0, 0, 0.9, 0.25), True, True),
        (Failure('false alarm', 0, 0, None, 0.9, 0.0), False, True),
        (Failure('missed', 0, None, 1, 0.0, 0.0), True, False),
    ):
        picture = draw_failure(image, sample, detections, failure)
        assert (picture.shape, picture.dtype) == ((SIDE, SIDE, 3), np.uint8)
        assert is_drawn(picture, TRUTH) is ground_truth
        assert is_drawn(picture, FOUND) is seen
    np.testing.assert_array_equal(image, before)


def test_a_picture_at_the_edge_and_of_a_tiny_photograph(make_sample: Make, found: Make) -> None:
    sample = make_sample([(0, 0, 3, 2)], [0], size=(4, 4))
    failure = Failure('missed', 0, None, 0, 0.0, 0.0)
    picture = draw_failure(np.zeros((4, 4, 3), np.uint8), sample, found(), failure)
    assert picture.shape == (SIDE, SIDE, 3)
    wide = make_sample([(0, 0, 4000, 3000)], [0], size=(3000, 4000))
    picture = draw_failure(np.zeros((3000, 4000, 3), np.uint8), wide, found(), failure)
    assert is_drawn(picture, TRUTH)
