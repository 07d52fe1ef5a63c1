"""Report the health of a detector: its state, status message and conditions."""

from collections.abc import Iterable, Iterator

from mnssd_msgs.msg import DetectorStatus
from mnssd_perception.bundle import Bundle
from mnssd_perception.engines import Rejection
from mnssd_perception.nodes.detector_engine import EngineState, NO_ENGINE
from mnssd_perception.nodes.detector_stats import Snapshot
from mnssd_perception.ros.diagnostics import Condition, ERROR, Report, STALE, WARN
from mnssd_perception.text import sanitize_text
from std_msgs.msg import Header

STALLED_AFTER = 2.0  # without an image for longer, the camera has stopped [s]

FAILURES = {
    'image': 'invalid frames',
    'engine': 'frames on which the engine failed',
    'overlay': 'frames without an overlay',
}


def determine_state(
    snapshot: Snapshot,
    failure: Exception | None,
    engine_timeout: float,
    engine: EngineState = NO_ENGINE,
    *,
    is_active: bool,
) -> str:
    """
    Determine the state of a detector, one of those in DetectorStatus.

    :param failure: what ended its worker, if anything.
    :param engine_timeout: longest time for one frame [s].
    """
    if failure is not None:
        return 'failed'
    if engine.loading:
        return 'loading'
    if snapshot.frame_age > engine_timeout:
        return 'hung'
    if not is_active:
        return 'inactive'
    if not snapshot.status.frames_received:
        return 'waiting'
    return 'stalled' if snapshot.silence > STALLED_AFTER else 'running'


def complete_status(
    snapshot: Snapshot,
    state: str,
    header: Header,
    engine: EngineState = NO_ENGINE,
    bundle: Bundle | None = None,
    failure: Exception | None = None,
) -> DetectorStatus:
    """Complete the message on ``~/status``; the bundle is None before configuring."""
    status = snapshot.status
    status.header, status.state = header, state
    status.last_error = sanitize_text(_describe(failure) if failure else snapshot.last_error)
    if (info := engine.info) is not None:
        status.engine, status.engine_version = info.name, info.version
        status.precision, status.device = info.precision, info.device
    if bundle is not None:
        status.bundle = sanitize_text(bundle.name)
        status.bundle_version = sanitize_text(bundle.version)
        status.bundle_digest = bundle.digest
    return status


def make_report(
    status: DetectorStatus, conditions: Iterable[Condition], rejections: Iterable[Rejection] = ()
) -> Report:
    """Make the report for ``/diagnostics`` from the status of the same moment."""
    values = {
        'state': status.state,
        'engine': f'{status.engine} {status.engine_version} ({status.precision}, {status.device})',
        'bundle': f'{status.bundle} {status.bundle_version}',
        'bundle digest': status.bundle_digest,
        'frames/s': f'{status.rate_hz:.1f}',
        'latency p50 [ms]': f'{status.latency_p50_ms:.1f}',
        'latency p95 [ms]': f'{status.latency_p95_ms:.1f}',
        'conversion [ms]': f'{status.convert_ms:.1f}',
        'inference [ms]': f'{status.infer_ms:.1f}',
        'frames received': status.frames_received,
        'frames processed': status.frames_processed,
        'dropped, detector busy': status.frames_dropped_busy,
        'dropped, too old': status.frames_dropped_stale,
        'failed': status.frames_failed,
        'last error': status.last_error,
        **{f'not used: {item.candidate}': item.reason for item in rejections},
    }
    return Report(f'{status.rate_hz:.1f} frames/s', tuple(conditions), values)


def detector_conditions(
    state: str,
    snapshot: Snapshot,
    topic: str,
    failure: Exception | None = None,
    transition_error: Exception | None = None,
    engine: EngineState = NO_ENGINE,
) -> Iterator[Condition]:
    """
    List the current problems of a detector.

    :param failure: what ended the worker.
    :param transition_error: why the last lifecycle transition failed.
    """
    if failure is not None:
        yield Condition('failed', ERROR, f'failed: {_describe(failure)}')
    if state == 'hung':
        message = f'the engine hangs: one frame has taken {snapshot.frame_age:.0f} s so far'
        yield Condition('hung', ERROR, message)
    if transition_error is not None:
        yield Condition('transition', ERROR, str(transition_error))
    for item in engine.rejections:
        if item.is_failure:
            message = f'engine {item.candidate} is not used, restart the node to retry it: '
            yield Condition(f'engine {item.candidate}', WARN, message + item.reason)
    if state == 'loading':
        yield Condition('loading', STALE, f'not ready yet: {engine.loading}')
    for cause, failed in snapshot.failures.items():
        is_lasting = cause == 'engine' and not failed.has_passed
        message = f'{FAILURES[cause]}, {failed.num} so far: {failed.error}'
        yield Condition(f'failed by {cause}', ERROR if is_lasting else WARN, message)
    if state == 'inactive':
        yield Condition('inactive', WARN, 'not active; a lifecycle manager must activate it')
    if state == 'waiting':
        yield Condition('silent', STALE, f'no image yet on {topic}')
    if state == 'stalled':
        message = f'no image on {topic}, the last came {snapshot.silence:.0f} s ago'
        yield Condition('silent', STALE, message)
    if snapshot.new_stale:
        message = f'{snapshot.new_stale} frames were too old; does the camera use the same clock?'
        yield Condition('old frames', WARN, message)


def _describe(failure: Exception) -> str:
    return f'{type(failure).__name__}: {failure}'
