"""Tests of the figures of a detector and what is reported of them."""

from dataclasses import replace
from threading import Thread

from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.detector import StageTimings
from mnssd_perception.engines import EngineInfo
import pytest

pytest.importorskip('rclpy')

from mnssd_perception.nodes.detector_report import report, state_of, status_message
from mnssd_perception.nodes.detector_stats import DetectorStats
from mnssd_perception.ros.diagnostics import Condition, ERROR, OK, STALE, WARN
from std_msgs.msg import Header

pytestmark = pytest.mark.ros

TIMINGS = StageTimings(0.001, 0.02, 0.003)
ENGINE = EngineInfo('paper', '1', 'fp32', 'desk')


def test_no_frames():
    snapshot = DetectorStats().snapshot()
    assert (snapshot.received, snapshot.processed, snapshot.failed) == (0, 0, 0)
    assert snapshot.rate == snapshot.latency_p50 == snapshot.stages.total == 0.0
    assert snapshot.silence == float('inf')
    assert state_of(snapshot, '', is_active=True) == 'waiting'


def test_totals_stay_and_periods_begin_anew():
    stats = DetectorStats()
    for _ in range(7):
        stats.receive()
    stats.process(TIMINGS, 0.05)
    stats.process(TIMINGS, None)
    stats.drop_busy(2)
    stats.drop_stale()
    stats.fail('first')
    stats.fail('second')
    first, second = stats.snapshot(), stats.snapshot()
    assert first.received == first.processed + first.busy + first.stale + first.failed == 7
    assert (first.new_stale, first.new_failed, first.last_error) == (1, 2, 'second')
    assert first.latency_p50 == first.latency_p95 == 0.05
    assert first.stages.total == pytest.approx(TIMINGS.total)
    assert first.rate > 0
    assert (second.received, second.failed, second.last_error) == (7, 2, 'second')
    assert (second.new_stale, second.new_failed, second.rate) == (0, 0, 0.0)
    assert second.stages.total == 0.0


def test_threads_count_every_frame():
    stats = DetectorStats()

    def work():
        for _ in range(500):
            stats.receive()
            stats.drop_busy(1)

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stats.snapshot().received == stats.snapshot().busy == 2000


@pytest.fixture
def judge():
    """Judge a running detector after some changes to its figures."""
    bundle = open_bundle(shipped_bundle_path())
    stats = DetectorStats()
    stats.receive()
    stats.process(TIMINGS, 0.05)
    running = stats.snapshot()

    def judge(*, failure='', warning='', is_active=True, **changes):
        snapshot = replace(running, **changes)
        state = state_of(snapshot, failure, is_active=is_active)
        status = status_message(snapshot, state, ENGINE, bundle, Header())
        status.last_error = failure or status.last_error
        made = report(status, snapshot, '/image', warning)
        assert made.values['state'] == state
        worst = made.conditions[0] if made.conditions else Condition('', OK, made.summary)
        return state, worst.level, worst.message

    return judge


@pytest.mark.parametrize(
    ('changes', 'state', 'level', 'word'),
    [
        ({'received': 0}, 'waiting', STALE, 'no image yet on /image'),
        ({}, 'running', OK, 'frames/s'),
        ({'silence': 7.0}, 'stalled', STALE, 'for 7 s'),
        ({'new_failed': 2, 'last_error': 'bad step'}, 'running', WARN, '2 bad frames: bad step'),
        ({'new_stale': 3}, 'running', WARN, '3 frames were too old'),
        ({'warning': 'odd camera', 'received': 0}, 'waiting', WARN, 'odd camera'),
        ({'failure': 'it broke', 'warning': 'odd'}, 'failed', ERROR, 'failed: it broke'),
        ({'is_active': False}, 'inactive', WARN, 'not active'),
    ],
)
def test_the_worst_is_reported(judge, changes, state, level, word):
    found_state, found_level, message = judge(**changes)
    assert (found_state, found_level) == (state, level)
    assert word in message
