"""Tests of the conversion of detections and class names."""

from hypothesis import given, settings, strategies
from mnssd_perception.ssd import Detections
import numpy as np
import pytest

pytest.importorskip('rclpy')

from builtin_interfaces.msg import Time
from mnssd_perception.ros.detections import (
    from_label_info,
    from_message,
    to_label_info,
    to_message,
)
from std_msgs.msg import Header
from vision_msgs.msg import (
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesisWithPose,
)

pytestmark = pytest.mark.ros

HEADER = Header(stamp=Time(sec=7, nanosec=8), frame_id='camera')


def detections(*rows):
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def test_no_detections_survive_a_round_trip():
    msg = to_message(detections(), HEADER)
    assert msg.header == HEADER
    assert len(msg.detections) == 0
    back = from_message(msg)
    assert (back.boxes.shape, back.scores.shape, back.labels.shape) == ((0, 4), (0,), (0,))


def test_fields_of_a_detection():
    (made,) = to_message(detections((10, 20, 40, 100, 0.75, 3)), HEADER).detections
    assert made.header == HEADER
    assert (made.bbox.center.position.x, made.bbox.center.position.y) == (25.0, 60.0)
    assert made.bbox.center.theta == 0.0
    assert (made.bbox.size_x, made.bbox.size_y) == (30.0, 80.0)
    (result,) = made.results
    assert result.hypothesis.class_id == '3'
    assert result.hypothesis.score == 0.75
    assert made.id == ''


PIXELS = strategies.floats(-1000, 10000, width=32)
ROWS = strategies.lists(
    strategies.tuples(
        *[PIXELS] * 4, strategies.floats(0, 1, width=32), strategies.integers(0, 99)
    ),
    max_size=5,
)


@settings(deadline=None)
@given(ROWS)
def test_detections_survive_a_round_trip(rows):
    before = detections(*rows)
    after = from_message(to_message(before, HEADER))
    np.testing.assert_allclose(after.boxes, before.boxes, atol=1e-3)
    np.testing.assert_array_equal(after.scores, before.scores)
    np.testing.assert_array_equal(after.labels, before.labels)
    assert (after.boxes.dtype, after.scores.dtype, after.labels.dtype) == (
        np.float32,
        np.float32,
        np.int64,
    )


def detection(*hypotheses):
    made = Detection2D()
    for class_id, score in hypotheses:
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = class_id, score
        made.results.append(result)
    return made


def test_best_hypothesis_counts():
    msg = Detection2DArray(detections=[detection(('1', 0.2), ('2', 0.9), ('0', 0.5))])
    back = from_message(msg)
    assert back.labels.tolist() == [2]
    assert back.scores.tolist() == pytest.approx([0.9])


@pytest.mark.parametrize('class_id', ['', 'Car', '-1', '1.0', '²', '9' * 400])
def test_invalid_detections_are_skipped(class_id):
    msg = Detection2DArray(detections=[detection(), detection((class_id, 1.0))])
    msg.detections.append(detection(('4', 0.5)))
    assert from_message(msg).labels.tolist() == [4]


def test_no_class_names_survive_a_round_trip():
    assert from_label_info(LabelInfo()) == {}
    assert from_label_info(to_label_info((), 0.5, HEADER)) == {}


def test_label_info_holds_names_and_threshold():
    msg = to_label_info(('Person', 'Car'), 0.25, HEADER)
    assert msg.header == HEADER
    assert msg.threshold == 0.25
    assert [(entry.class_id, entry.class_name) for entry in msg.class_map] == [
        (0, 'Person'),
        (1, 'Car'),
    ]
    assert from_label_info(msg) == {0: 'Person', 1: 'Car'}


def test_class_names_are_sanitized():
    names = ('Car\n[FATAL] \x1b[31m', 'x' * 10**6)
    for name in from_label_info(to_label_info(names, 0.25, HEADER)).values():
        assert name.isprintable()
        assert len(name) <= 64
