"""What became of objects and detections, and what was taken for what."""

from collections.abc import Callable
from typing import Any

from mnssd_perception.ssd import Detections
from mnssd_training.data import Sample
from mnssd_training.data.sample import ANY_CLASS
from mnssd_training.evaluation.outcomes import confusion_matrix, match_detections
import numpy as np
import pytest

Make = Callable[..., Any]
A, NEAR_A, B = (0, 0, 100, 100), (5, 0, 105, 100), (300, 300, 400, 400)
ELSEWHERE = (600, 0, 640, 40)


def matrix(sample: Sample, detections: Detections, num_classes: int = 2) -> list[list[int]]:
    outcome = match_detections(sample, detections, 0.5)
    return confusion_matrix([sample], [detections], [outcome], num_classes).tolist()


def test_nothing(make_sample: Make, found: Make) -> None:
    outcome = match_detections(make_sample(), found(), 0.5)
    assert (len(outcome.pairs), len(outcome.missed), len(outcome.wrong)) == (0, 0, 0)
    assert outcome.pairs.shape == (0, 2)
    assert confusion_matrix([], [], [], 2).tolist() == [[0] * 3] * 3


def test_right_missed_wrong_and_confused(make_sample: Make, found: Make) -> None:
    sample = make_sample([A, B, (150, 0, 200, 60)], [0, 1, 1])
    detections = found([A, B, ELSEWHERE, ELSEWHERE], [0.9, 0.8, 0.7, 0.4], [0, 0, 1, 0])
    outcome = match_detections(sample, detections, 0.5)
    assert outcome.pairs.tolist() == [[0, 0], [1, 1]]
    assert outcome.missed.tolist() == [2]
    assert outcome.wrong.tolist() == [2]  # the last is under the threshold
    assert matrix(sample, detections) == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]


def test_the_right_class_comes_before_the_better_box(make_sample: Make, found: Make) -> None:
    sample = make_sample([A], [0])
    outcome = match_detections(sample, found([A, NEAR_A], [0.9, 0.8], [1, 0]), 0.5)
    assert outcome.pairs.tolist() == [[0, 1]]
    assert outcome.wrong.tolist() == [0]


def test_a_detection_answers_for_one_object(make_sample: Make, found: Make) -> None:
    outcome = match_detections(make_sample([A, NEAR_A], [0, 0]), found([A], [0.9]), 0.5)
    assert outcome.pairs.tolist() == [[0, 0]]
    assert outcome.missed.tolist() == [1]


@pytest.mark.parametrize(('label', 'wrong'), [(0, 0), (1, 1), (ANY_CLASS, 0)])
def test_ignore_regions(make_sample: Make, found: Make, label: int, wrong: int) -> None:
    sample = make_sample([A], [0], [(590, 0, 700, 50)], [label])
    outcome = match_detections(sample, found([A, ELSEWHERE], [0.9, 0.8]), 0.5)
    assert len(outcome.wrong) == wrong
    assert len(outcome.missed) == 0


def test_everything_is_counted_once(crowded: Make) -> None:
    for seed in range(3):
        samples, found = crowded(seed, regions=False)
        outcomes = [match_detections(*pair, 0.4) for pair in zip(samples, found)]
        table = confusion_matrix(samples, found, outcomes, 3)
        labels = np.concatenate([sample.labels for sample in samples])
        seen = np.concatenate([one.labels[one.scores >= 0.4] for one in found])
        np.testing.assert_array_equal(table[:3].sum(axis=1), np.bincount(labels, minlength=3))
        np.testing.assert_array_equal(table[:, :3].sum(axis=0), np.bincount(seen, minlength=3))
        assert table[3, 3] == 0
        for outcome in outcomes:
            assert len(set(outcome.pairs[:, 0])) == len(set(outcome.pairs[:, 1]))
            assert len(set(outcome.pairs[:, 0])) == len(outcome.pairs)
