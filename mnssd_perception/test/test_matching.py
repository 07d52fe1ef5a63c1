"""Matching of detections to ground truth, by hand and in random scenes."""

from typing import Any, get_args

from mnssd_perception.matching import ANY_CLASS, match_detections, MatchResult, Rule
from mnssd_perception.ssd import Detections
from mnssd_perception.ssd.boxes import box_iou
import numpy as np
import pytest

A, NEAR_A, B = (0, 0, 100, 100), (5, 0, 105, 100), (300, 300, 400, 400)
BETWEEN = (3, 0, 103, 100)  # nearer to NEAR_A than to A
ELSEWHERE = (600, 0, 640, 40)
RULES: tuple[Rule, ...] = get_args(Rule)


def as_boxes(boxes: Any) -> np.ndarray:
    return np.array(boxes, np.float32).reshape(-1, 4)


def match(
    objects: Any,
    labels: Any,
    boxes: Any,
    detected_labels: Any = None,
    ignore: Any = (),
    ignore_labels: Any = (),
    scores: Any = None,
    **options: Any,
) -> MatchResult:
    num = len(boxes)
    detections = Detections(
        as_boxes(boxes),
        np.array(np.linspace(0.9, 0.5, num) if scores is None else scores, np.float32),
        np.array([0] * num if detected_labels is None else detected_labels, np.int64),
    )
    return match_detections(
        detections,
        as_boxes(objects),
        np.array(labels, np.int64),
        as_boxes(ignore),
        np.array(ignore_labels, np.int64),
        **options,
    )


@pytest.mark.parametrize('rule', RULES)
def test_empty(rule: Rule) -> None:
    result = match([], [], [], rule=rule)
    assert result.true_positives.shape == result.misclassified.shape == (0, 2)
    assert len(result.false_positives) == len(result.false_negatives) == len(result.ignored) == 0
    assert match([A], [0], [], rule=rule).false_negatives.tolist() == [0]
    assert match([], [], [A], rule=rule).false_positives.tolist() == [0]


@pytest.mark.parametrize(
    ('rule', 'misclassified', 'false_positives', 'false_negatives'),
    [('voc', [], [1, 2], [1, 2]), ('same_class', [], [1, 2], [1, 2]),
     ('any_class', [[1, 1]], [2], [2])],
)  # fmt: skip
def test_all_verdicts(
    rule: Rule, misclassified: Any, false_positives: Any, false_negatives: Any
) -> None:
    result = match(
        [A, B, (150, 0, 200, 60)], [0, 1, 1],
        [A, B, ELSEWHERE, ELSEWHERE], [0, 0, 1, 0],
        scores=[0.9, 0.8, 0.7, 0.4], score_threshold=0.5, rule=rule,
    )  # fmt: skip
    assert result.true_positives.tolist() == [[0, 0]]
    assert result.misclassified.tolist() == misclassified
    assert result.false_positives.tolist() == false_positives  # the last is below the threshold
    assert result.false_negatives.tolist() == false_negatives
    assert result.ignored.tolist() == []


def test_scores_at_the_threshold_are_kept() -> None:
    result = match([A], [0], [A, A], scores=[0.5, 0.25], score_threshold=0.5)
    assert (result.true_positives.tolist(), len(result.false_positives)) == ([[0, 0]], 0)


def test_a_box_of_the_right_class_comes_before_a_better_box_of_another_class() -> None:
    result = match([A], [0], [A, NEAR_A], [1, 0], rule='any_class')
    assert result.true_positives.tolist() == [[0, 1]]
    assert result.false_positives.tolist() == [0]


@pytest.mark.parametrize('rule', RULES)
def test_matches_are_one_to_one(rule: Rule) -> None:
    result = match([A, NEAR_A], [0, 0], [A], rule=rule)
    assert result.true_positives.tolist() == [[0, 0]]
    assert result.false_negatives.tolist() == [1]
    result = match([A], [0], [A, A], rule=rule)
    assert result.true_positives.tolist() == [[0, 0]]
    assert result.false_positives.tolist() == [1]


def test_voc_lets_the_highest_score_choose_and_others_the_highest_iou() -> None:
    assert match([A], [0], [NEAR_A, A], rule='voc').true_positives.tolist() == [[0, 0]]
    assert match([A], [0], [NEAR_A, A]).true_positives.tolist() == [[0, 1]]


def test_voc_does_not_fall_back_to_the_second_nearest_object() -> None:
    objects, boxes = [A, NEAR_A], [NEAR_A, BETWEEN]
    result = match(objects, [0, 0], boxes, rule='voc')
    assert (result.true_positives.tolist(), result.false_positives.tolist()) == ([[1, 0]], [1])
    result = match(objects, [0, 0], boxes)
    assert result.true_positives.tolist() == [[0, 1], [1, 0]]


def test_voc_looks_for_the_nearest_object_of_the_class() -> None:
    result = match([A, NEAR_A], [0, 1], [BETWEEN], rule='voc')
    assert result.true_positives.tolist() == [[0, 0]]


def test_an_iou_at_the_threshold_matches() -> None:
    half = (0, 0, 50, 100)
    assert len(match([A], [0], [half]).true_positives) == 1
    assert len(match([A], [0], [half], iou_threshold=0.51).true_positives) == 0


@pytest.mark.parametrize('rule', RULES)
@pytest.mark.parametrize(('label', 'ignored'), [(0, [1]), (1, []), (ANY_CLASS, [1])])
def test_detections_in_an_ignore_region_of_their_class(
    rule: Rule, label: int, ignored: list[int]
) -> None:
    region = (590, 0, 700, 50)
    result = match([A], [0], [A, ELSEWHERE], ignore=[region], ignore_labels=[label], rule=rule)
    assert result.ignored.tolist() == ignored
    assert len(result.false_positives) == 1 - len(ignored)
    assert len(result.false_negatives) == 0


def test_half_of_a_detection_must_lie_in_the_ignore_region() -> None:
    for left, num_ignored in ((620, 1), (621, 0)):
        result = match([], [], [ELSEWHERE], ignore=[(left, 0, 700, 40)], ignore_labels=[ANY_CLASS])
        assert len(result.ignored) == num_ignored


@pytest.mark.parametrize(('rule', 'num_ignored'), [('voc', 0), ('same_class', 1)])
def test_only_voc_counts_a_duplicate_in_an_ignore_region(rule: Rule, num_ignored: int) -> None:
    result = match([A], [0], [A, NEAR_A], ignore=[(0, 0, 200, 200)], ignore_labels=[0], rule=rule)
    assert result.true_positives.tolist() == [[0, 0]]
    assert (len(result.ignored), len(result.false_positives)) == (num_ignored, 1 - num_ignored)


def test_pairs_that_are_not_allowed_do_not_match() -> None:
    allowed = np.array([[False, True]])
    result = match([A], [0], [A, NEAR_A], allowed=allowed)
    assert result.true_positives.tolist() == [[0, 1]]
    result = match([A], [0], [B, A, NEAR_A], scores=[0.4, 0.9, 0.8], score_threshold=0.5,
                   allowed=np.array([[True, False, True]]))  # fmt: skip
    assert result.true_positives.tolist() == [[0, 2]]
    assert result.false_positives.tolist() == [1]


@pytest.mark.parametrize('rule', RULES)
def test_random_scenes_are_partitioned(rule: Rule) -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        corners = generator.integers(0, 60, (30, 2))
        boxes = np.concatenate((corners, corners + generator.integers(10, 40, (30, 2))), axis=1)
        labels = generator.integers(0, 2, 30)
        result = match(
            boxes[:10], labels[:10], boxes[10:25], labels[10:25],
            boxes[25:], generator.integers(-1, 2, 5), rule=rule,
        )  # fmt: skip
        pairs = np.concatenate((result.true_positives, result.misclassified))
        objects = np.sort(np.concatenate((pairs[:, 0], result.false_negatives)))
        assert objects.tolist() == list(range(10))
        detected = np.concatenate((pairs[:, 1], result.false_positives, result.ignored))
        assert np.sort(detected).tolist() == list(range(15))
        ious = box_iou(boxes[:10].astype(float), boxes[10:25].astype(float))
        assert (ious[pairs[:, 0], pairs[:, 1]] >= 0.5).all()
        same = labels[result.true_positives[:, 0]] == labels[10:25][result.true_positives[:, 1]]
        assert same.all()


def test_ignore_regions_need_labels() -> None:
    detections = Detections(as_boxes([A]), np.ones(1, np.float32), np.zeros(1, np.int64))
    no_objects = as_boxes([]), np.zeros(0, np.int64)
    assert match_detections(detections, *no_objects, as_boxes([A])).ignored.tolist() == []
    assert match_detections(detections, *no_objects).false_positives.tolist() == [0]
    labels = np.array([ANY_CLASS])
    assert match_detections(detections, *no_objects, None, labels).ignored.tolist() == []


def test_any_class_is_the_label_of_stored_samples() -> None:
    assert ANY_CLASS == -1
