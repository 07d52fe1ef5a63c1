"""Tests of frames that wait for their detections."""

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


def unanswered():
    """Publish for a detector that cannot use the frame."""


def test_nothing_arrives(lockstep, monkeypatch):
    monkeypatch.setattr(module, 'RESEND_AFTER', 0.01)
    monkeypatch.setattr(module, 'TIMEOUT', 0.05)
    sent = []
    with pytest.raises(MnssdError, match=r'expected detections of a\.jpg on /detections'):
        lockstep.send(lambda: sent.append(1), FIRST, 'a.jpg')
    assert len(sent) > 1


def test_detections_that_arrive_while_it_publishes_count(lockstep):
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


def test_detections_from_before_do_not_count(lockstep, monkeypatch):
    monkeypatch.setattr(module, 'RESEND_AFTER', 0.01)
    lockstep.report(FIRST)
    answers = iter([SECOND, FIRST])
    lockstep.send(lambda: lockstep.report(next(answers)), FIRST, 'a.jpg')
    assert not list(answers)


def test_a_frame_without_detections_is_sent_again_and_skipped(lockstep, monkeypatch):
    assert lockstep.send(lambda: lockstep.report(FIRST), FIRST, 'a.jpg')
    monkeypatch.setattr(module, 'RESEND_AFTER', 0.01)
    monkeypatch.setattr(module, 'SKIP_AFTER', 0.05)
    sent = []
    assert not lockstep.send(lambda: sent.append(1), SECOND, 'b.jpg')
    assert len(sent) > 1


def test_many_frames_without_detections_in_a_row_are_an_error(lockstep, monkeypatch):
    assert lockstep.send(lambda: lockstep.report(FIRST), FIRST, 'a.jpg')
    monkeypatch.setattr(module, 'SKIP_AFTER', 0.01)
    monkeypatch.setattr(module, 'RESEND_AFTER', 0.01)
    assert not lockstep.send(unanswered, SECOND, 'b.jpg')
    assert not lockstep.send(unanswered, SECOND, 'c.jpg')
    with pytest.raises(
        MnssdError, match=r'of d\.jpg and of the 2 frames before it on /detections'
    ):
        lockstep.send(unanswered, SECOND, 'd.jpg')


def test_frames_without_detections_between_others_are_no_error(lockstep, monkeypatch):
    for _ in range(module.MOST_SKIPPED):
        assert lockstep.send(lambda: lockstep.report(FIRST), FIRST, 'a.jpg')
        with monkeypatch.context() as patch:
            patch.setattr(module, 'SKIP_AFTER', 0.01)
            patch.setattr(module, 'RESEND_AFTER', 0.01)
            assert not lockstep.send(unanswered, SECOND, 'b.jpg')


def test_closing_ends_a_wait(lockstep):
    thread = Thread(target=lockstep.send, args=(lambda: None, FIRST, 'a.jpg'), daemon=True)
    thread.start()
    lockstep.close()
    thread.join(20)
    assert not thread.is_alive()
