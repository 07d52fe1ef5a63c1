"""Boxes in the network input, and which of them a network can hardly learn."""

from mnssd_perception.ssd import feature_map
from mnssd_training.inspection.check_network import check_priors
import numpy as np
import pytest

LEVELS = (feature_map((96, 120), 8, ((10.0, 10.0), (20.0, 20.0))),)
NAMES = ('Person', 'Car')


def check(sizes: list[tuple[float, float]], labels: list[int]) -> list[tuple[str, str]]:
    found = check_priors(
        np.array(sizes, np.float64).reshape(-1, 2),
        np.array(labels, np.int64),
        NAMES,
        LEVELS,
        positive_iou=0.5,
        min_side=2.0,
        root='set',
    )
    problems = list(found)
    assert all(problem.severity == 'error' for problem in problems)
    return [(problem.location, problem.message) for problem in problems]


def test_no_boxes() -> None:
    assert check([], []) == []


def test_most_boxes_without_prior_are_an_error_by_class() -> None:
    sizes = [(10.0, 10.0)] * 200 + [(5.0, 5.0)] * 60 + [(1.0, 5.0)] * 5
    ((where, reason),) = check(sizes, [1] * 200 + [0] * 65)
    assert where == 'Person'
    assert reason == (
        '65 of 65 boxes to train on: 5 have a side of less than 2 pixels of the network input, '
        '60 an IoU of less than 0.5 with every prior; their median is 5.0 x 5.0 pixels, priors '
        'have 10.0 x 10.0 to 20.0 x 20.0, the finest stride is 8'
    )


def test_all_classes_together_get_a_problem_too() -> None:
    found = check([(5.0, 5.0)] * 80, [0, 1] * 40)
    assert [where for where, _ in found] == ['all classes', *NAMES]


@pytest.mark.parametrize('num_bad', [0, 20, 50])
def test_up_to_half_without_prior_is_no_error(num_bad: int) -> None:
    sizes = [(5.0, 5.0)] * num_bad + [(10.0, 10.0)] * (100 - num_bad)
    assert check(sizes, [0] * 100) == []


def test_too_few_boxes_give_no_problem() -> None:
    assert check([(5.0, 5.0)] * 29, [0] * 29) == []
