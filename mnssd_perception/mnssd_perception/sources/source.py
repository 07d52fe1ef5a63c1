"""The base class of all camera sources, and the pacing of their frames."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event
import time

from mnssd_perception.errors import SourceError
from mnssd_perception.ssd import Detections
from mnssd_perception.text import mask_secrets
from numpy.typing import NDArray

Report = Callable[[str], None]


def ignore(message: str) -> None:
    """Do nothing: the default of ``report``."""


@dataclass(frozen=True)
class Frame:
    """One image of a source."""

    image: NDArray  # (H, W, 3) BGR, uint8, or (H, W) grey, uint8 or uint16
    name: str  # a file name or a number, for messages
    ground_truth: Detections | None = None  # where the source knows it


class FrameSource(ABC):
    """
    An iterable of frames.

    Every source takes ``report``, which is called with a message for each problem that it recovers
    from.

    :param rate: frames per second to play at; None where a live source sets the rate.
    :ivar fault: why a live source currently gives no images; '' while it does.
    :ivar num_retries: how often a live source was reopened.
    """

    def __init__(self, uri: str, *, rate: float | None, loop: bool, report: Report) -> None:
        self.uri = mask_secrets(uri)
        self.rate = rate
        self._loop = loop
        self._report = report
        self._closing = Event()
        self.num_frames = 0
        self.fault = ''
        self.num_retries = 0

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until the end; raise SourceError if a pass has no readable frame."""
        while not self._closing.is_set():
            num_before = self.num_frames
            for frame in self._play():
                self.num_frames += 1
                yield frame
                if self._closing.is_set():
                    return
            if self.num_frames == num_before and not self._closing.is_set():
                raise SourceError(f"source '{self.uri}' has no readable frame")
            if not self._loop:
                return

    def close(self) -> None:
        """End the iteration, also from another thread; closing twice is harmless."""
        self._closing.set()

    @abstractmethod
    def _play(self) -> Iterator[Frame]:
        """Yield the frames of one pass."""


class Pacer:
    """Waits until the next frame is due, without drift and without catching up in a burst."""

    def __init__(self, rate: float | None, stopping: Event) -> None:
        self._period = 1 / rate if rate else 0.0
        self._stopping = stopping
        self._due = 0.0

    def wait(self) -> bool:
        """Wait for the next frame; the first one is due now. Return False when stopped."""
        now = time.monotonic()
        # A late frame delays all that follow; nobody wants old frames at double speed.
        self._due = max(self._due, now)
        is_stopped = self._stopping.wait(self._due - now)
        self._due += self._period
        return not is_stopped
