"""Tests of the messages that say what detections mean."""

import pytest

pytest.importorskip('rclpy')

from builtin_interfaces.msg import Time
from mnssd_perception.ros.labels import class_names, label_info, vision_info
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

pytestmark = pytest.mark.ros

HEADER = Header(stamp=Time(sec=7))


def test_empty():
    assert class_names(LabelInfo()) == {}
    assert class_names(label_info((), 0.5, HEADER)) == {}


def test_names_and_threshold():
    msg = label_info(('Person', 'Car'), 0.25, HEADER)
    assert msg.header == HEADER
    assert msg.threshold == 0.25
    assert [(entry.class_id, entry.class_name) for entry in msg.class_map] == [
        (0, 'Person'),
        (1, 'Car'),
    ]
    assert class_names(msg) == {0: 'Person', 1: 'Car'}


def test_names_of_others_are_made_safe():
    names = ('Car\n[FATAL] \x1b[31m', 'x' * 10**6)
    for name in class_names(label_info(names, 0.25, HEADER)).values():
        assert name.isprintable()
        assert len(name) <= 64


def test_vision_info():
    msg = vision_info('model on engine', 'sha256:00', 3, HEADER)
    assert msg.header == HEADER
    assert (msg.method, msg.database_location, msg.database_version) == (
        'model on engine',
        'sha256:00',
        3,
    )
