"""Tests of what the camera node says about itself."""

from dataclasses import replace

import pytest

pytest.importorskip('rclpy')

from mnssd_perception.nodes.camera_report import camera_report, CameraSnapshot, SILENT_AFTER
from mnssd_perception.ros.diagnostics import Condition, ERROR, STALE, WARN

pytestmark = pytest.mark.ros

PLAYING = CameraSnapshot(
    source='/dev/video0',
    rate=30.0,
    num_frames=90,
    num_retries=0,
    fault='',
    silence=0.03,
    waiting='',
    is_live=True,
    has_ended=False,
)
LONG = SILENT_AFTER + 1


def conditions(**changes):
    report = camera_report(replace(PLAYING, **changes), ())
    return [(condition.key, condition.level) for condition in report.conditions]


def test_nothing_is_wrong():
    report = camera_report(PLAYING, ())
    assert (report.summary, report.conditions) == ('30.0 frames/s', ())
    assert report.values == {
        'source': '/dev/video0', 'frames/s': '30.0', 'frames': 90, 'retries': 0,
    }  # fmt: skip


def test_a_missing_source_is_an_error_in_its_own_words():
    report = camera_report(replace(PLAYING, fault="no camera '/dev/video0'"), ())
    assert report.conditions == (Condition('source', ERROR, "no camera '/dev/video0'"),)


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        ({'silence': LONG}, [('source', ERROR)]),
        ({'silence': SILENT_AFTER}, []),
        ({'silence': LONG, 'is_live': False}, []),
        ({'silence': LONG, 'has_ended': True}, []),
        ({'silence': LONG, 'waiting': 'others'}, [('waiting', STALE)]),
        ({'silence': 0.1, 'waiting': 'others'}, []),
    ],
    ids=str,
)
def test_silence(changes, expected):
    assert conditions(**changes) == expected


def test_the_end_is_no_fault():
    assert camera_report(replace(PLAYING, has_ended=True), ()).summary == 'the source has ended'


def test_the_transport_is_reported_too():
    transport = Condition('shared_memory', WARN, 'none')
    report = camera_report(replace(PLAYING, fault='lost'), (transport,))
    assert [condition.key for condition in report.conditions] == ['source', 'shared_memory']
