"""What happened to the frames of a detector, counted and timed."""

from dataclasses import dataclass
from threading import Lock
from time import monotonic

from mnssd_perception.detector import StageTimings
from mnssd_perception.latency import LatencyWindow

__all__ = ['DetectorStats', 'Snapshot']


@dataclass(frozen=True)
class Snapshot:
    """
    The figures of a detector at one moment; rates and times are of the last period.

    :ivar received: frames that came in; each is then processed, dropped or failed.
    :ivar processed: frames whose detections were published.
    :ivar stale: frames dropped because they were older than allowed.
    :ivar busy: frames dropped because a newer one came while the detector was busy.
    :ivar failed: frames that could not be read.
    :ivar new_stale: of them, since the last snapshot.
    :ivar new_failed: of them, since the last snapshot.
    :ivar rate: frames processed [Hz].
    :ivar latency_p50: from the stamp of the image to the publication of its detections [s].
    :ivar latency_p95: the same [s].
    :ivar stages: mean times.
    :ivar silence: since the last frame came in [s]; infinite when there was none.
    :ivar last_error: the latest failure in words.
    """

    received: int
    processed: int
    stale: int
    busy: int
    failed: int
    new_stale: int
    new_failed: int
    rate: float
    latency_p50: float
    latency_p95: float
    stages: StageTimings
    silence: float
    last_error: str

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
        self._last_error = ''
        self._arrived: float | None = None
        self._latencies = LatencyWindow()
        self._stages = {name: LatencyWindow() for name in ('resize', 'infer', 'postprocess')}
        self._before = (monotonic(), 0, 0, 0)

    def receive(self) -> None:
        """Count a frame that came in."""
        with self._lock:
            self._received += 1
            self._arrived = monotonic()

    def drop_busy(self, num: int) -> None:
        """Count frames that were replaced by newer ones."""
        with self._lock:
            self._busy += num

    def drop_stale(self) -> None:
        """Count a frame that was too old."""
        with self._lock:
            self._stale += 1

    def fail(self, error: str) -> None:
        """Count a frame that could not be processed, and keep the reason."""
        with self._lock:
            self._failed += 1
            self._last_error = error

    def process(self, timings: StageTimings, latency: float | None) -> None:
        """
        Count a frame whose detections were published.

        :param timings: of its stages.
        :param latency: since its stamp [s]; None where the stamp is of another clock.
        """
        with self._lock:
            self._processed += 1
            for name, window in self._stages.items():
                window.add(getattr(timings, name))
            if latency is not None:
                self._latencies.add(latency)

    def snapshot(self) -> Snapshot:
        """
        Sum up, and begin a new period.

        :return: the figures.
        """
        with self._lock:
            now = monotonic()
            then, processed, stale, failed = self._before
            self._before = (now, self._processed, self._stale, self._failed)
            snapshot = Snapshot(
                received=self._received,
                processed=self._processed,
                stale=self._stale,
                busy=self._busy,
                failed=self._failed,
                new_stale=self._stale - stale,
                new_failed=self._failed - failed,
                rate=(self._processed - processed) / max(now - then, 1e-9),
                latency_p50=self._latencies.percentile(50),
                latency_p95=self._latencies.percentile(95),
                stages=StageTimings(**{k: window.mean() for k, window in self._stages.items()}),
                silence=float('inf') if self._arrived is None else now - self._arrived,
                last_error=self._last_error,
            )
            for window in (self._latencies, *self._stages.values()):
                window.clear()
            return snapshot
