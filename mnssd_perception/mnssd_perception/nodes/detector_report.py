"""The figures of a detector to its status message and its diagnostics."""

from collections.abc import Iterator

from mnssd_msgs.msg import DetectorStatus
from mnssd_perception.bundle import Bundle
from mnssd_perception.engines import EngineInfo
from mnssd_perception.nodes.detector_stats import Snapshot
from mnssd_perception.ros.diagnostics import Condition, ERROR, Report, STALE, WARN
from std_msgs.msg import Header

__all__ = ['report', 'state_of', 'status_message']

# Without an image for longer, the camera has stopped [s].
STALLED_AFTER = 2.0

MS = 1000


def state_of(snapshot: Snapshot, failure: str, *, is_active: bool = True) -> str:
    """
    Say in a word how the detector does.

    :param snapshot: its figures.
    :param failure: what it died of; '' while it lives.
    :param is_active: whether it was activated.
    :return: ``failed``, ``inactive``, ``waiting``, ``stalled`` or ``running``, as in
        DetectorStatus.
    """
    if failure:
        return 'failed'
    if not is_active:
        return 'inactive'
    if not snapshot.received:
        return 'waiting'
    return 'stalled' if snapshot.silence > STALLED_AFTER else 'running'


def status_message(
    snapshot: Snapshot, state: str, engine: EngineInfo, bundle: Bundle, header: Header
) -> DetectorStatus:
    """
    Make the message on ``~/status``.

    :param snapshot: the figures.
    :param state: as :func:`state_of` says it.
    :param engine: that runs.
    :param bundle: that is loaded.
    :param header: time of the report.
    :return: the message.
    """
    return DetectorStatus(
        header=header,
        engine=engine.name,
        engine_version=engine.version,
        precision=engine.precision,
        device=engine.device,
        bundle=bundle.name,
        bundle_version=bundle.version,
        bundle_digest=bundle.digest,
        state=state,
        frames_received=snapshot.received,
        frames_processed=snapshot.processed,
        frames_dropped_stale=snapshot.stale,
        frames_dropped_busy=snapshot.busy,
        frames_failed=snapshot.failed,
        rate_hz=snapshot.rate,
        latency_p50_ms=snapshot.latency_p50 * MS,
        latency_p95_ms=snapshot.latency_p95 * MS,
        resize_ms=snapshot.stages.resize * MS,
        infer_ms=snapshot.stages.infer * MS,
        postprocess_ms=snapshot.stages.postprocess * MS,
        last_error=snapshot.last_error,
    )


def report(status: DetectorStatus, snapshot: Snapshot, topic: str, warning: str) -> Report:
    """
    Judge the figures for ``/diagnostics``.

    :param status: the message of the same moment.
    :param snapshot: the figures.
    :param topic: on which images are awaited.
    :param warning: something else that is wrong with the connections; '' for nothing.
    :return: the report.
    """
    values = {
        'state': status.state,
        'engine': f'{status.engine} {status.engine_version} ({status.precision}, {status.device})',
        'bundle': f'{status.bundle} {status.bundle_version}',
        'bundle digest': status.bundle_digest,
        'frames/s': f'{status.rate_hz:.1f}',
        'latency p50 [ms]': f'{status.latency_p50_ms:.1f}',
        'latency p95 [ms]': f'{status.latency_p95_ms:.1f}',
        'inference [ms]': f'{status.infer_ms:.1f}',
        'frames received': status.frames_received,
        'frames processed': status.frames_processed,
        'dropped, detector busy': status.frames_dropped_busy,
        'dropped, too old': status.frames_dropped_stale,
        'failed': status.frames_failed,
        'last error': status.last_error,
    }
    conditions = tuple(_conditions(status, snapshot, topic, warning))
    return Report(f'{status.rate_hz:.1f} frames/s', conditions, values)


def _conditions(
    status: DetectorStatus, snapshot: Snapshot, topic: str, warning: str
) -> Iterator[Condition]:
    """List what is wrong."""
    if status.state == 'failed':
        yield Condition('failed', ERROR, f'failed: {status.last_error}')
    if warning:
        yield Condition('qos', WARN, warning)
    if status.state == 'inactive':
        yield Condition('inactive', WARN, 'not active; a lifecycle manager has to activate it')
    if status.state == 'waiting':
        yield Condition('silent', STALE, f'no image yet on {topic}')
    if status.state == 'stalled':
        yield Condition('silent', STALE, f'no image on {topic} for {snapshot.silence:.0f} s')
    if snapshot.new_failed:
        message = f'{snapshot.new_failed} bad frames: {snapshot.last_error}'
        yield Condition('bad_frames', WARN, message)
    if snapshot.new_stale:
        message = f'{snapshot.new_stale} frames were too old; is the clock of the camera ours?'
        yield Condition('old_frames', WARN, message)
