"""Tests of the report of the camera node."""

from types import SimpleNamespace

import pytest

pytest.importorskip('rclpy')

from mnssd_perception.nodes.camera_node import make_report, SILENT_AFTER
from mnssd_perception.ros.diagnostics import Condition, ERROR, STALE, WARN

pytestmark = pytest.mark.ros

LONG = SILENT_AFTER + 1


def report(*, fault='', is_live=True, conditions=(), **changes):
    source = SimpleNamespace(
        uri='/dev/video0',
        rate=None if is_live else 25.0,
        num_frames=90,
        num_retries=0,
        fault=fault,
    )
    values = {'rate': 30.0, 'silence': 0.03, 'waiting_for': '', 'has_ended': False, **changes}
    return make_report(source, conditions=conditions, **values)


def test_playing_camera_has_no_conditions():
    assert (report().summary, report().conditions) == ('30.0 frames/s', ())
    assert report().values == {
        'source': '/dev/video0', 'frames/s': '30.0', 'frames': 90, 'retries': 0,
    }  # fmt: skip


def test_fault_of_the_source_is_an_error():
    conditions = report(fault="no camera '/dev/video0'").conditions
    assert conditions == (Condition('source', ERROR, "no camera '/dev/video0'"),)


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        ({'silence': LONG}, [('source', ERROR)]),
        ({'silence': SILENT_AFTER}, []),
        ({'silence': LONG, 'is_live': False}, []),
        ({'silence': LONG, 'has_ended': True}, []),
        ({'silence': LONG, 'waiting_for': 'others'}, [('waiting', STALE)]),
        ({'silence': 0.1, 'waiting_for': 'others'}, []),
    ],
    ids=str,
)
def test_silence_is_reported_only_where_images_are_expected(changes, expected):
    conditions = report(**changes).conditions
    assert [(condition.key, condition.level) for condition in conditions] == expected


def test_end_of_the_source_is_the_summary():
    assert report(has_ended=True).summary == 'the source has ended'


def test_conditions_of_topics_are_appended():
    transport = Condition('shared_memory', WARN, 'none')
    conditions = report(fault='lost', conditions=(transport,)).conditions
    assert [condition.key for condition in conditions] == ['source', 'shared_memory']
