"""Tests of the statistics of a detector and its report."""

from dataclasses import replace
from threading import Thread

from mnssd_perception.bundle import Artefact, open_bundle, shipped_bundle_path
from mnssd_perception.detector import StageTimings
from mnssd_perception.engines import EngineInfo, Rejection
from mnssd_perception.engines.open import Candidate
from mnssd_perception.errors import SettingsError
import pytest

pytest.importorskip('rclpy')

from mnssd_msgs.msg import DetectorStatus
from mnssd_perception.nodes import detector_stats
from mnssd_perception.nodes.detector_engine import EngineState
from mnssd_perception.nodes.detector_report import (
    complete_status,
    detector_conditions,
    determine_state,
    make_report,
)
from mnssd_perception.nodes.detector_stats import DetectorStats, FailedFrames
from mnssd_perception.ros.diagnostics import ERROR, STALE, WARN
from std_msgs.msg import Header

pytestmark = pytest.mark.ros

TIMINGS = StageTimings(0.001, 0.02, 0.003)
ENGINE = EngineState(EngineInfo('paper', '1', 'fp32', 'desk'))


def test_statistics_without_frames_are_zero():
    snapshot = DetectorStats().snapshot()
    assert snapshot.status == DetectorStatus()
    assert snapshot.frame_age == 0.0
    assert snapshot.silence == float('inf')
    assert (snapshot.failures, snapshot.last_error) == ({}, '')
    assert determine_state(snapshot, None, 1.0, is_active=True) == 'waiting'


def test_counts_accumulate_and_rates_are_per_period():
    stats = DetectorStats()
    for _ in range(7):
        stats.receive()
    stats.process(TIMINGS, 0.004, 0.05)
    stats.process(TIMINGS, 0.004, None)
    stats.drop_busy(2)
    stats.drop_stale()
    stats.fail('image', 'first')
    stats.fail('image', 'second')
    first, second = stats.snapshot(), stats.snapshot()
    before, after = first.status, second.status
    assert (before.frames_received, before.frames_processed) == (7, 2)
    assert (before.frames_dropped_busy, before.frames_dropped_stale) == (2, 1)
    assert before.frames_failed == 2
    assert first.new_stale == 1
    assert before.latency_p50_ms == before.latency_p95_ms == 50.0
    times = before.convert_ms, before.resize_ms, before.infer_ms, before.postprocess_ms
    assert times == pytest.approx((4.0, 1.0, 20.0, 3.0))
    assert before.rate_hz > 0
    assert (after.frames_received, after.frames_failed) == (7, 2)
    assert (second.new_stale, after.rate_hz) == (0, 0.0)
    assert after.convert_ms == after.infer_ms == 0.0


def test_overlay_failure_loses_no_frame_and_lasts_until_another_succeeds():
    stats = DetectorStats()
    stats.process(TIMINGS, 0.004, None, 'first')
    stats.process(TIMINGS, 0.004, None, 'second')
    for _ in range(2):
        snapshot = stats.snapshot()
        assert snapshot.failures == {'overlay': FailedFrames(2, 'second')}
        assert (snapshot.status.frames_processed, snapshot.status.frames_failed) == (2, 0)
    stats.process(TIMINGS, 0.004, None)
    assert stats.snapshot().failures['overlay'].has_passed
    assert stats.snapshot().failures == {}


def test_failure_lasts_until_a_frame_succeeds_and_is_listed_once_more():
    stats = DetectorStats()
    stats.fail('image', 'first')
    stats.fail('image', 'second')
    for _ in range(2):
        snapshot = stats.snapshot()
        assert snapshot.failures == {'image': FailedFrames(2, 'second')}
        assert snapshot.last_error == 'second'
    stats.process(TIMINGS, 0.004, None)
    assert stats.snapshot().failures == {'image': FailedFrames(2, 'second', has_passed=True)}
    assert stats.snapshot().failures == {}
    stats.fail('engine', 'third')
    assert stats.snapshot().failures == {'engine': FailedFrames(1, 'third')}
    stats.forget_failures()
    assert stats.snapshot().last_error == ''


@pytest.mark.parametrize(
    'end',
    [
        lambda stats: stats.process(TIMINGS, 0.004, None),
        lambda stats: stats.fail('engine', 'broken'),
        lambda stats: stats.drop_stale(),
    ],
    ids=['processed', 'failed', 'too old'],
)
def test_age_of_the_current_frame_is_measured_until_its_end(end, monkeypatch):
    now = 100.0
    monkeypatch.setattr(detector_stats, 'monotonic', lambda: now)
    stats = DetectorStats()
    stats.begin()
    now = 107.0
    assert stats.frame_age() == stats.snapshot().frame_age == 7.0
    end(stats)
    assert stats.frame_age() == stats.snapshot().frame_age == 0.0


def test_frame_can_be_timed_anew():
    stats = DetectorStats()
    stats.restart_frame()
    assert stats.frame_age() == 0.0
    stats.begin()
    stats._frame_start -= 100
    stats.restart_frame()
    assert 0 < stats.frame_age() < 100


def test_counts_are_thread_safe():
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
    status = stats.snapshot().status
    assert status.frames_received == status.frames_dropped_busy == 2000


@pytest.fixture
def report():
    """Report on a running detector after some changes to its statistics."""
    bundle = open_bundle(shipped_bundle_path())
    stats = DetectorStats()
    stats.receive()
    stats.process(TIMINGS, 0.004, 0.05)
    running = stats.snapshot()

    def make(*, failure=None, transition_error=None, is_active=True, engine=ENGINE, **changes):
        snapshot = replace(running, **changes)
        state = determine_state(snapshot, failure, 1.0, engine, is_active=is_active)
        status = complete_status(snapshot, state, Header(), engine, bundle, failure)
        conditions = detector_conditions(
            state, snapshot, '/image', failure, transition_error, engine
        )
        made = make_report(status, conditions, engine.rejections)
        for rejection in engine.rejections:
            assert made.values[f'not used: {rejection.candidate}'] == rejection.reason
        assert made.values['state'] == state
        assert made.summary.endswith('frames/s')
        return state, [(condition.level, condition.message) for condition in made.conditions]

    return make


BAD_IMAGE = FailedFrames(2, 'bad step')
BAD_HEADS = FailedFrames(9, 'heads are not finite')
MISSING = Rejection(Candidate('stone', Artefact('n', 'stone', 'fp32')), 'no stone here', False)
LOST = Rejection(Candidate('glass', Artefact('n', 'glass', 'int8')), 'it fell', True)
NO_MEMORY = FailedFrames(4, 'not enough memory')


@pytest.mark.parametrize(
    ('changes', 'state', 'conditions'),
    [
        ({}, 'running', []),
        ({'status': DetectorStatus()}, 'waiting', [(STALE, 'no image yet on /image')]),
        ({'silence': 7.0}, 'stalled', [(STALE, 'the last came 7 s ago')]),
        ({'frame_age': 0.9}, 'running', []),
        ({'frame_age': 5.0}, 'hung', [(ERROR, 'one frame has taken 5 s so far')]),
        (
            {'frame_age': 5.0, 'is_active': False},
            'hung',
            [(ERROR, 'one frame has taken 5 s so far')],
        ),
        (
            {'failures': {'image': BAD_IMAGE}},
            'running',
            [(WARN, 'invalid frames, 2 so far: bad step')],
        ),
        (
            {'failures': {'engine': BAD_HEADS}},
            'running',
            [(ERROR, 'engine failed, 9 so far: heads are not finite')],
        ),
        (
            {'failures': {'engine': replace(BAD_HEADS, has_passed=True)}},
            'running',
            [(WARN, 'engine failed, 9 so far: heads are not finite')],
        ),
        (
            {'failures': {'image': BAD_IMAGE, 'engine': BAD_HEADS}},
            'running',
            [(WARN, 'bad step'), (ERROR, 'engine failed, 9 so far: heads are not finite')],
        ),
        (
            {'failures': {'overlay': NO_MEMORY}},
            'running',
            [(WARN, 'without an overlay, 4 so far: not enough memory')],
        ),
        ({'new_stale': 3}, 'running', [(WARN, '3 frames were too old')]),
        (
            {'failure': ValueError('it broke'), 'frame_age': 5.0},
            'failed',
            [(ERROR, 'failed: ValueError: it broke')],
        ),
        ({'is_active': False}, 'inactive', [(WARN, 'not active')]),
        ({'engine': replace(ENGINE, rejections=(MISSING,))}, 'running', []),
        (
            {'engine': replace(ENGINE, rejections=(MISSING, LOST))},
            'running',
            [(WARN, 'engine glass (int8) is not used, restart the node to retry it: it fell')],
        ),
        (
            {'engine': replace(ENGINE, loading='building'), 'frame_age': 5.0},
            'loading',
            [(STALE, 'not ready yet: building')],
        ),
        (
            {'engine': EngineState(loading='building'), 'is_active': False},
            'loading',
            [(STALE, 'not ready yet: building')],
        ),
        (
            {'is_active': False, 'transition_error': SettingsError('expected a bundle')},
            'inactive',
            [(ERROR, 'expected a bundle'), (WARN, 'not active')],
        ),
    ],
)
def test_state_and_conditions_of_each_problem(report, changes, state, conditions):
    found_state, found = report(**changes)
    assert found_state == state
    assert [level for level, _ in found] == [level for level, _ in conditions]
    for (_, message), (_, part) in zip(found, conditions):
        assert part in message


def test_status_before_configuring_and_after_a_failure():
    snapshot = DetectorStats().snapshot()
    status = complete_status(snapshot, 'failed', Header(), failure=ValueError('a\nb' * 1000))
    assert (status.engine, status.bundle, status.state) == ('', '', 'failed')
    assert status.last_error.startswith('ValueError: a')
    assert status.last_error.isprintable()
    assert len(status.last_error) <= 200
