"""Count and time what happens to the frames of a detector."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from time import monotonic

from mnssd_perception.detector import StageTimings
from mnssd_perception.latency import LatencyWindow


@dataclass(frozen=True)
class FailedFrames:
    """
    Frames, or their overlays, that failed for one cause, as long as that is news.

    :ivar num: how many, since the last frame before them that went well.
    :ivar error: why the latest of them failed.
    :ivar has_passed: whether another frame has gone well since.
    """

    num: int
    error: str
    has_passed: bool = False


@dataclass(frozen=True)
class Snapshot:
    """
    The figures of a detector at one moment; rates and times are of the last period.

    :ivar received: frames that came in; each is then processed, dropped or failed.
    :ivar processed: frames whose detections were published.
    :ivar stale: frames dropped because they were older than allowed.
    :ivar busy: frames dropped because a newer one came while the detector was busy.
    :ivar failed: frames that could not be read or processed.
    :ivar new_stale: of them, since the last snapshot.
    :ivar failures: by cause, ``image``, ``engine`` or ``overlay``, which costs no frame; a cause
        that has passed is listed once more.
    :ivar rate: frames processed [Hz].
    :ivar latency_p50: from the stamp of the image to the publication of its detections [s].
    :ivar latency_p95: the same [s].
    :ivar convert: mean time from message to RGB image [s].
    :ivar stages: mean times of the detector.
    :ivar silence: since the last frame came in [s]; infinite when there was none.
    :ivar frame_age: since the worker began with the frame in work [s]; 0 when it is idle.
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
        """Say why frames fail or have failed lately; empty when they do not."""
        return '; '.join(failed.error for failed in self.failures.values())

    def __str__(self) -> str:
        """Say what became of the frames."""
        return (
            f'{self.received} frames came in: {self.processed} processed, {self.busy} dropped '
            f'for newer ones, {self.stale} too old, {self.failed} bad'
        )


class DetectorStats:
    """Counts and times frames; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._received = self._processed = self._stale = self._busy = self._failed = 0
        self._failures: dict[str, FailedFrames] = {}
        self._arrived: float | None = None
        self._began: float | None = None
        self._latencies = LatencyWindow()
        names = ('convert', 'resize', 'infer', 'postprocess')
        self._stages = {name: LatencyWindow() for name in names}
        self._before = (monotonic(), 0, 0)

    def receive(self) -> None:
        """Count a frame that came in."""
        with self._lock:
            self._received += 1
            self._arrived = monotonic()

    def begin(self) -> None:
        """Note that the worker begins with a frame."""
        self._began = monotonic()

    def frame_age(self) -> float:
        """Measure the time since the worker began with the frame in work [s]; 0 without one."""
        began = self._began
        return 0.0 if began is None else monotonic() - began

    def drop_busy(self, num: int) -> None:
        """Count frames that were replaced by newer ones."""
        with self._lock:
            self._busy += num

    def drop_stale(self) -> None:
        """Count the frame in work, which was too old."""
        with self._lock:
            self._began = None
            self._stale += 1

    def fail(self, cause: str, error: str) -> None:
        """
        Count the frame in work, which could not be processed.

        :param cause: ``image`` where the frame is wrong, ``engine`` where it may be sound.
        :param error: in words.
        """
        with self._lock:
            self._began = None
            self._failed += 1
            self._note_failure(cause, error)

    def process(
        self,
        timings: StageTimings,
        convert: float,
        latency: float | None,
        overlay_error: str = '',
    ) -> None:
        """
        Count the frame in work, whose detections were published.

        :param timings: of the stages of the detector.
        :param convert: from message to RGB image [s].
        :param latency: since its stamp [s]; None where the stamp is of another clock.
        :param overlay_error: why it has no overlay, in words; '' if it has one or nobody wants it.
        """
        with self._lock:
            self._began = None
            self._processed += 1
            self._stages['convert'].add(convert)
            for name in ('resize', 'infer', 'postprocess'):
                self._stages[name].add(getattr(timings, name))
            if latency is not None:
                self._latencies.add(latency)
            for cause, failed in self._failures.items():
                self._failures[cause] = replace(failed, has_passed=True)
            if overlay_error:
                self._note_failure('overlay', overlay_error)

    def forget_failures(self) -> None:
        """Drop the reasons of failed frames; they stay counted."""
        with self._lock:
            self._failures = {}

    def snapshot(self) -> Snapshot:
        """
        Sum up, and begin a new period.

        :return: the figures.
        """
        with self._lock:
            now = monotonic()
            then, processed, stale = self._before
            self._before = (now, self._processed, self._stale)
            means = {name: window.mean() for name, window in self._stages.items()}
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
                convert=means.pop('convert'),
                stages=StageTimings(**means),
                silence=float('inf') if self._arrived is None else now - self._arrived,
                frame_age=self.frame_age(),
            )
            lasting = {k: failed for k, failed in self._failures.items() if not failed.has_passed}
            self._failures = lasting
            for window in (self._latencies, *self._stages.values()):
                window.clear()
            return snapshot

    def _note_failure(self, cause: str, error: str) -> None:
        """Count one more failure of a cause; the lock is held."""
        before = self._failures.get(cause)
        num = before.num if before is not None else 0
        self._failures[cause] = FailedFrames(num + 1, error)
