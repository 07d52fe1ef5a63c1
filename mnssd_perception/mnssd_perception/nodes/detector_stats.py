"""Count and time the frames of a detector."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from time import monotonic

from mnssd_msgs.msg import DetectorStatus
from mnssd_perception.detector import StageTimings
from mnssd_perception.latency import LatencyWindow

STAGES = ('resize', 'infer', 'postprocess')
MS = 1000


@dataclass(frozen=True)
class FailedFrames:
    """Frames, or their overlays, that failed for one cause, until that is reported as over."""

    num: int  # since the last frame before them that was processed
    error: str  # of the latest of them
    has_passed: bool = False  # whether another frame has been processed since


@dataclass(frozen=True)
class Snapshot:
    """
    The statistics of a detector at one moment.

    :ivar status: with the counts, and with the rate and times of the last period.
    :ivar failures: by cause, ``image``, ``engine`` or ``overlay``, which costs no frame; a cause
        that has passed is listed once more.
    """

    status: DetectorStatus
    new_stale: int  # frames that were too old since the last snapshot
    failures: Mapping[str, FailedFrames]
    silence: float  # since the last frame came in [s]; infinite when there was none
    frame_age: float  # since the worker started the current frame [s]; 0 when it is idle

    @property
    def last_error(self) -> str:
        """Why frames fail or have failed lately; empty when they do not."""
        return '; '.join(failed.error for failed in self.failures.values())

    def __str__(self) -> str:
        """Summarize the counts."""
        status = self.status
        return (
            f'{status.frames_received} frames received: {status.frames_processed} processed, '
            f'{status.frames_dropped_busy} dropped for newer ones, '
            f'{status.frames_dropped_stale} too old, {status.frames_failed} failed'
        )


class DetectorStats:
    """Counts and times frames; thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._received = self._processed = self._stale = self._busy = self._failed = 0
        self._failures: dict[str, FailedFrames] = {}
        self._last_arrival: float | None = None
        self._frame_start: float | None = None
        self._latencies = LatencyWindow()
        self._stages = {name: LatencyWindow() for name in ('convert', *STAGES)}
        self._last_snapshot = (monotonic(), 0, 0)  # time, processed, stale

    def receive(self) -> None:
        """Count a frame that came in."""
        with self._lock:
            self._received += 1
            self._last_arrival = monotonic()

    def begin(self) -> None:
        """Note that the worker starts a frame."""
        self._frame_start = monotonic()

    def restart_frame(self) -> None:
        """Time the current frame, if there is one, from now on."""
        with self._lock:
            if self._frame_start is not None:
                self._frame_start = monotonic()

    def frame_age(self) -> float:
        """Return the time since the worker started the current frame [s]; 0 without one."""
        start = self._frame_start
        return 0.0 if start is None else monotonic() - start

    def drop_busy(self, num: int) -> None:
        """Count frames that were replaced by newer ones."""
        with self._lock:
            self._busy += num

    def drop_stale(self) -> None:
        """Count the current frame, which is too old."""
        with self._lock:
            self._frame_start = None
            self._stale += 1

    def fail(self, cause: str, error: str) -> None:
        """Count the current frame; the cause is ``image`` if it is invalid, else ``engine``."""
        with self._lock:
            self._frame_start = None
            self._failed += 1
            self._add_failure(cause, error)

    def process(
        self, timings: StageTimings, convert: float, latency: float | None, overlay_error: str = ''
    ) -> None:
        """
        Count the current frame, whose detections were published.

        :param convert: time from message to RGB image [s].
        :param latency: since its stamp [s]; None where the stamp is of another clock.
        """
        with self._lock:
            self._frame_start = None
            self._processed += 1
            self._stages['convert'].add(convert)
            for name in STAGES:
                self._stages[name].add(getattr(timings, name))
            if latency is not None:
                self._latencies.add(latency)
            for cause, failed in self._failures.items():
                self._failures[cause] = replace(failed, has_passed=True)
            if overlay_error:
                self._add_failure('overlay', overlay_error)

    def forget_failures(self) -> None:
        """Clear the causes of failed frames; the frames stay counted."""
        with self._lock:
            self._failures = {}

    def snapshot(self) -> Snapshot:
        """Return the statistics, and start a new period."""
        with self._lock:
            now = monotonic()
            then, processed, stale = self._last_snapshot
            self._last_snapshot = (now, self._processed, self._stale)
            status = DetectorStatus(
                frames_received=self._received,
                frames_processed=self._processed,
                frames_dropped_stale=self._stale,
                frames_dropped_busy=self._busy,
                frames_failed=self._failed,
                rate_hz=(self._processed - processed) / max(now - then, 1e-9),
                latency_p50_ms=self._latencies.percentile(50) * MS,
                latency_p95_ms=self._latencies.percentile(95) * MS,
                **{f'{name}_ms': window.mean() * MS for name, window in self._stages.items()},
            )
            silence = float('inf') if self._last_arrival is None else now - self._last_arrival
            failures, new_stale = dict(self._failures), self._stale - stale
            snapshot = Snapshot(status, new_stale, failures, silence, self.frame_age())
            lasting = {cause: item for cause, item in failures.items() if not item.has_passed}
            self._failures = lasting
            for window in (self._latencies, *self._stages.values()):
                window.clear()
            return snapshot

    def _add_failure(self, cause: str, error: str) -> None:
        """Count one more failure of a cause; the lock is held."""
        previous = self._failures.get(cause)
        self._failures[cause] = FailedFrames(previous.num + 1 if previous else 1, error)
