"""Tests of the report of the camera node."""

from dataclasses import replace

import pytest

pytest.importorskip('rclpy')

from mnssd_perception.nodes.camera_report import CameraSnapshot, make_report, SILENT_AFTER
from mnssd_perception.ros.diagnostics import Condition, ERROR, STALE, WARN

pytestmark = pytest.mark.ros

PLAYING = CameraSnapshot(
    source='/dev/video0',
    rate=30.0,
    num_frames=90,
    num_retries=0,
    fault='',
    silence=0.03,
    waiting_for='',
    is_live=True,
    has_ended=False,
)
LONG = SILENT_AFTER + 1


def conditions(**changes):
    report = make_report(replace(PLAYING, **changes), ())
    return [(condition.key, condition.level) for condition in report.conditions]


def test_playing_camera_has_no_conditions():
    report = make_report(PLAYING, ())
    assert (report.summary, report.conditions) == ('30.0 frames/s', ())
    assert report.values == {
        'source': '/dev/video0', 'frames/s': '30.0', 'frames': 90, 'retries': 0,
    }  # fmt: skip


def test_fault_of_the_source_is_an_error():
    report = make_report(replace(PLAYING, fault="no camera '/dev/video0'"), ())
    assert report.conditions == (Condition('source', ERROR, "no camera '/dev/video0'"),)


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
    assert conditions(**changes) == expected


def test_end_of_the_source_is_the_summary():
    assert make_report(replace(PLAYING, has_ended=True), ()).summary == 'the source has ended'


def test_conditions_of_topics_are_appended():
    transport = Condition('shared_memory', WARN, 'none')
    report = make_report(replace(PLAYING, fault='lost'), (transport,))
    assert [condition.key for condition in report.conditions] == ['source', 'shared_memory']
