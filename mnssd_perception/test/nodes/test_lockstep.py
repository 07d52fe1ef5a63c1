"""Tests of lock-step publishing."""

from threading import Thread

import pytest

pytest.importorskip('rclpy')

from builtin_interfaces.msg import Time
from mnssd_perception.errors import MnssdError
from mnssd_perception.nodes import lockstep as module
from mnssd_perception.nodes.lockstep import Lockstep

pytestmark = pytest.mark.ros

FIRST, SECOND = Time(sec=1), Time(sec=2)


@pytest.fixture
def lockstep():
    return Lockstep('/detections')


def publish_in_vain():
    """Publish a frame that never gets detections."""


def test_no_detections_are_an_error_after_resending(lockstep, monkeypatch):
    monkeypatch.setattr(module, 'RESEND_AFTER', 0.01)
    monkeypatch.setattr(module, 'TIMEOUT', 0.05)
    sent = []
    with pytest.raises(MnssdError, match=r'expected detections of a\.jpg on /detections'):
        lockstep.send(lambda: sent.append(1), FIRST, 'a.jpg')
    assert len(sent) > 1


def test_detections_that_arrive_while_publishing_count(lockstep):
    sent = []

    def publish():
        sent.append(1)
        lockstep.report(FIRST)

    lockstep.send(publish, FIRST, 'a.jpg')
    assert sent == [1]


def test_detections_of_another_frame_do_not_count(lockstep, monkeypatch):
    monkeypatch.setattr(module, 'RESEND_AFTER', 0.01)
    answers = iter([FIRST, FIRST, SECOND])
    lockstep.send(lambda: lockstep.report(next(answers)), SECOND, 'b.jpg')
    assert not list(answers)


def test_earlier_detections_do_not_count(lockstep, monkeypatch):
    monkeypatch.setattr(module, 'RESEND_AFTER', 0.01)
    lockstep.report(FIRST)
    answers = iter([SECOND, FIRST])
    lockstep.send(lambda: lockstep.report(next(answers)), FIRST, 'a.jpg')
    assert not list(answers)


def test_frame_without_detections_is_resent_and_skipped(lockstep, monkeypatch):
    assert lockstep.send(lambda: lockstep.report(FIRST), FIRST, 'a.jpg') == ''
    monkeypatch.setattr(module, 'RESEND_AFTER', 0.01)
    monkeypatch.setattr(module, 'SKIP_AFTER', 0.05)
    sent = []
    assert 'got none within' in lockstep.send(lambda: sent.append(1), SECOND, 'b.jpg')
    assert len(sent) > 1


def test_several_consecutive_frames_without_detections_are_an_error(lockstep, monkeypatch):
    assert lockstep.send(lambda: lockstep.report(FIRST), FIRST, 'a.jpg') == ''
    monkeypatch.setattr(module, 'SKIP_AFTER', 0.01)
    monkeypatch.setattr(module, 'RESEND_AFTER', 0.01)
    assert 'got none within' in lockstep.send(publish_in_vain, SECOND, 'b.jpg')
    assert 'got none within' in lockstep.send(publish_in_vain, SECOND, 'c.jpg')
    with pytest.raises(
        MnssdError, match=r'of d\.jpg and of the 2 frames before it on /detections'
    ):
        lockstep.send(publish_in_vain, SECOND, 'd.jpg')


def test_isolated_frames_without_detections_are_no_error(lockstep, monkeypatch):
    for _ in range(module.MAX_SKIPPED):
        assert lockstep.send(lambda: lockstep.report(FIRST), FIRST, 'a.jpg') == ''
        with monkeypatch.context() as patch:
            patch.setattr(module, 'SKIP_AFTER', 0.01)
            patch.setattr(module, 'RESEND_AFTER', 0.01)
            assert 'got none within' in lockstep.send(publish_in_vain, SECOND, 'b.jpg')


def test_closing_ends_a_wait(lockstep):
    thread = Thread(target=lockstep.send, args=(lambda: None, FIRST, 'a.jpg'), daemon=True)
    thread.start()
    lockstep.close()
    thread.join(20)
    assert not thread.is_alive()


def refuse_all(lockstep):
    """Make a detector that fails on every frame, beside two earlier ones."""
    failures = iter(range(3, 10))

    def publish():
        lockstep.report_failures(next(failures), 'expected RGB')

    lockstep.report_failures(2, 'expected RGB')
    return publish


def test_first_frame_on_which_the_detector_fails_is_skipped_with_its_reason(lockstep):
    assert lockstep.send(refuse_all(lockstep), FIRST, 'a.jpg') == 'expected RGB'


def test_detector_that_fails_on_the_first_frames_is_an_error_with_its_reason(lockstep):
    publish = refuse_all(lockstep)
    assert lockstep.send(publish, FIRST, 'a.jpg')
    assert lockstep.send(publish, SECOND, 'b.jpg')
    with pytest.raises(MnssdError, match=r'of c\.jpg .*2 frames before it .*, expected RGB'):
        lockstep.send(publish, Time(sec=3), 'c.jpg')


def test_failures_before_the_camera_started_do_not_count(lockstep, monkeypatch):
    monkeypatch.setattr(module, 'RESEND_AFTER', 0.01)
    monkeypatch.setattr(module, 'TIMEOUT', 0.05)
    with pytest.raises(MnssdError, match='got none within'):
        lockstep.send(lambda: lockstep.report_failures(7, 'expected RGB'), FIRST, 'a.jpg')


def test_failure_after_the_first_detections_leaves_time_to_resend(lockstep, monkeypatch):
    assert lockstep.send(lambda: lockstep.report(FIRST), FIRST, 'a.jpg') == ''
    monkeypatch.setattr(module, 'RESEND_AFTER', 0.01)
    attempts = iter([refuse_all(lockstep), lambda: lockstep.report(SECOND)])

    def publish():
        next(attempts)()

    assert lockstep.send(publish, SECOND, 'b.jpg') == ''
