"""Count and time the frames of a detector."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from time import monotonic

from mnssd_perception.detector import StageTimings
from mnssd_perception.latency import LatencyWindow

STAGES = ('resize', 'infer', 'postprocess')


@dataclass(frozen=True)
class FailedFrames:
    """
    Frames, or their overlays, that failed for one cause, until that is reported as over.

    :ivar num: since the last frame before them that was processed.
    :ivar error: of the latest of them.
    :ivar has_passed: whether another frame has been processed since.
    """

    num: int
    error: str
    has_passed: bool = False


@dataclass(frozen=True)
class Snapshot:
    """
    The statistics of a detector at one moment; rates and times are of the last period.

    :ivar received: frames that came in; each is then processed, dropped or failed.
    :ivar processed: frames whose detections were published.
    :ivar stale: frames dropped because they were older than allowed.
    :ivar busy: frames dropped because a newer one came while the detector was busy.
    :ivar failed: frames that could not be converted or processed.
    :ivar new_stale: stale frames since the last snapshot.
    :ivar failures: by cause, ``image``, ``engine`` or ``overlay``, which costs no frame; a cause
        that has passed is listed once more.
    :ivar rate: frames processed per second [Hz].
    :ivar latency_p50: from the stamp of the image to the publication of its detections [s].
    :ivar latency_p95: the same [s].
    :ivar convert: mean time from message to RGB image [s].
    :ivar stages: mean times of the detector.
    :ivar silence: time since the last frame came in [s]; infinite when there was none.
    :ivar frame_age: time since the worker started the current frame [s]; 0 when it is idle.
    """

    received: int
    processed: int
    stale: int
    busy: int
    failed: int
    new_stale: int
    failures: Mapping[str, FailedFrames]
    rate: float
    latency_p50: float
    latency_p95: float
    convert: float
    stages: StageTimings
    silence: float
    frame_age: float

    @property
    def last_error(self) -> str:
        """Why frames fail or have failed lately; empty when they do not."""
        return '; '.join(failed.error for failed in self.failures.values())

    def __str__(self) -> str:
        """Summarize the counts."""
        return (
            f'{self.received} frames received: {self.processed} processed, {self.busy} dropped '
            f'for newer ones, {self.stale} too old, {self.failed} failed'
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
        """
        Count the current frame, which could not be processed.

        :param cause: ``image`` where the frame is invalid, ``engine`` where it may be valid.
        """
        with self._lock:
            self._frame_start = None
            self._failed += 1
            self._add_failure(cause, error)

    def process(
        self,
        timings: StageTimings,
        convert: float,
        latency: float | None,
        overlay_error: str = '',
    ) -> None:
        """
        Count the current frame, whose detections were published.

        :param convert: time from message to RGB image [s].
        :param latency: since its stamp [s]; None where the stamp is of another clock.
        :param overlay_error: why its overlay failed; '' if it did not.
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
            snapshot = Snapshot(
                received=self._received,
                processed=self._processed,
                stale=self._stale,
                busy=self._busy,
                failed=self._failed,
                new_stale=self._stale - stale,
                failures=dict(self._failures),
                rate=(self._processed - processed) / max(now - then, 1e-9),
                latency_p50=self._latencies.percentile(50),
                latency_p95=self._latencies.percentile(95),
                convert=self._stages['convert'].mean(),
                stages=StageTimings(*(self._stages[name].mean() for name in STAGES)),
                silence=float('inf') if self._last_arrival is None else now - self._last_arrival,
                frame_age=self.frame_age(),
            )
            self._failures = {
                cause: failed for cause, failed in self._failures.items() if not failed.has_passed
            }
            for window in (self._latencies, *self._stages.values()):
                window.clear()
            return snapshot

    def _add_failure(self, cause: str, error: str) -> None:
        """Count one more failure of a cause; the lock is held."""
        previous = self._failures.get(cause)
        self._failures[cause] = FailedFrames(previous.num + 1 if previous else 1, error)
