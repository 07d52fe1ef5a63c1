"""The confusion matrix, from the matches of each image."""

from collections.abc import Callable
from typing import Any

from mnssd_training.evaluation.confusion import confusion_matrix, match_samples
import numpy as np

Make = Callable[..., Any]
A, B = (0, 0, 100, 100), (300, 300, 400, 400)
ELSEWHERE = (600, 0, 640, 40)


def test_no_images() -> None:
    assert confusion_matrix([], [], [], 2).tolist() == [[0] * 3] * 3


def test_rows_are_ground_truth_and_columns_predictions(make_sample: Make, found: Make) -> None:
    samples = [make_sample([A, B, (150, 0, 200, 60)], [0, 1, 1])]
    detections = [found([A, B, ELSEWHERE, ELSEWHERE], [0.9, 0.8, 0.7, 0.4], [0, 0, 1, 0])]
    matches = match_samples(samples, detections, 0.5)
    matrix = confusion_matrix(samples, detections, matches, 2)
    assert matrix.tolist() == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]


def test_every_object_and_detection_is_counted_once(crowded: Make) -> None:
    for seed in range(3):
        samples, found = crowded(seed, regions=False)
        matches = match_samples(samples, found, 0.4)
        table = confusion_matrix(samples, found, matches, 3)
        labels = np.concatenate([sample.labels for sample in samples])
        predicted = np.concatenate([one.labels[one.scores >= 0.4] for one in found])
        np.testing.assert_array_equal(table[:3].sum(axis=1), np.bincount(labels, minlength=3))
        np.testing.assert_array_equal(
            table[:, :3].sum(axis=0), np.bincount(predicted, minlength=3)
        )
        assert table[3, 3] == 0
