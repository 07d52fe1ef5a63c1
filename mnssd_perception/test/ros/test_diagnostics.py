"""Tests of the conditions of a node and how they are published."""
# ruff: noqa: E402 (ROS is imported only where it is installed)

import time

import pytest

rclpy = pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray
from mnssd_perception.ros import diagnostics
from mnssd_perception.ros.diagnostics import (
    Condition,
    Diagnostics,
    ERROR,
    OK,
    Report,
    STALE,
    WARN,
)
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

pytestmark = pytest.mark.ros

DOMAIN = 70
PATIENCE = 20.0  # s

HUNG = Condition('hung', ERROR, 'the engine does not return')
SLOW = Condition('slow', WARN, 'frames are too old')
SILENT = Condition('silent', STALE, 'no image on /image')


class FakeClock:
    """A clock that stands still until it is set."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def publish(monkeypatch):
    """Publish one report after the other and return the statuses that arrive."""
    clock = FakeClock()
    monkeypatch.setattr(diagnostics, 'monotonic', clock)
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=DOMAIN)
    node = Node('tested', namespace='/diagnosed', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    inbox, reports = [], []
    node.create_subscription(DiagnosticArray, '/diagnostics', inbox.append, 10)
    lines = []
    made = Diagnostics(node, 3600.0, lambda: reports[-1], 'camera\n7', lines.append)

    def publish(report, seconds=0.0):
        clock.now += seconds
        reports.append(report)
        num = len(inbox)
        end = time.monotonic() + PATIENCE
        while not made._publisher.get_subscription_count():
            assert time.monotonic() < end
            executor.spin_once(timeout_sec=0.02)
        made.publish()
        while len(inbox) == num:
            assert time.monotonic() < end
            executor.spin_once(timeout_sec=0.02)
        return inbox[-1].status[0], lines[-1]

    yield publish
    made.destroy()
    node.destroy_node()
    executor.shutdown(timeout_sec=1.0)
    rclpy.shutdown(context=context)


def test_report_without_conditions_is_ok_with_the_summary(publish):
    status, lines = publish(Report('15 frames/s', values={'frames': 3}))
    assert (status.level, status.message, lines) == (OK, '15 frames/s', [])
    assert status.name == 'diagnosed/tested: status'
    assert [(entry.key, entry.value) for entry in status.values] == [('frames', '3')]


def test_all_conditions_are_published_errors_first_with_durations(publish):
    publish(Report('fine', (SILENT,)))
    status, lines = publish(Report('fine', (SILENT, HUNG)), seconds=12.0)
    assert status.level == ERROR
    assert status.message == (
        'the engine does not return (for 0 s); no image on /image (for 12 s)'
    )
    assert lines == [
        'ERROR: the engine does not return (for 0 s)',
        'WARN: no image on /image (for 12 s)',
    ]
    assert publish(Report('fine', (SILENT,)))[0].level == STALE
    assert publish(Report('fine'))[0].level == OK


def test_errors_are_sorted_first(publish):
    _, lines = publish(Report('fine', (SILENT, SLOW, HUNG)))
    assert [line.partition(':')[0] for line in lines] == ['ERROR', 'WARN', 'WARN']
    assert 'no image' in lines[1]


def test_condition_is_timed_until_it_is_cleared(publish):
    reworded = Condition('hung', ERROR, 'still the same')
    assert publish(Report('', (HUNG,)))[1] == ['ERROR: the engine does not return (for 0 s)']
    _, lines = publish(Report('', (SLOW, reworded)), seconds=7.0)
    assert lines == ['ERROR: still the same (for 7 s)', 'WARN: frames are too old (for 0 s)']
    assert publish(Report('', (SLOW,)), seconds=3.0)[1] == ['WARN: frames are too old (for 3 s)']
    _, lines = publish(Report('', (HUNG,)), seconds=5.0)
    assert lines == ['ERROR: the engine does not return (for 0 s)']


def test_repeated_key_counts_once(publish):
    _, lines = publish(Report('', (SLOW, Condition('slow', ERROR, 'another message'))))
    assert lines == ['WARN: frames are too old (for 0 s)']


def test_text_is_sanitized(publish):
    forged = 'rgb8\n[FATAL] \x1b[31m' + 'x' * 10**6
    status, lines = publish(
        Report('fine', (Condition('bad', WARN, forged),), {'last error': forged})
    )
    for text in (status.message, status.values[0].value, status.hardware_id, *lines):
        assert text.isprintable()
        assert len(text) < 400
    assert publish(Report(forged))[0].message.isprintable()


def test_condition_is_logged_when_it_begins_and_ends(publish, capfd):
    for report in (Report('', (HUNG, SILENT)),) * 3:
        publish(report)
    publish(Report('', (SILENT,)))
    logged = capfd.readouterr()
    text = logged.out + logged.err
    assert text.count('[ERROR]') == text.count('cleared: the engine does not return') == 1
    assert 'no image' not in text
