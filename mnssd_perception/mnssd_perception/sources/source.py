"""The camera source that all others derive from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event

from mnssd_perception.errors import SourceError
from mnssd_perception.ssd import Detections
from mnssd_perception.text import mask_secrets
from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """
    One image of a source.

    :ivar image: ``(H, W, 3)`` BGR, uint8, or ``(H, W)`` grey, uint8 or uint16.
    :ivar name: what it is called in messages: a file name or a number.
    :ivar truth: the objects in it, where the source knows them.
    """

    image: NDArray
    name: str
    ground_truth: Detections | None = None


class FrameSource(ABC):
    """
    Images one after the other, as fast as they are asked for or as they come.

    :param uri: where the images come from, for messages.
    :param rate: frames a second at which they want to be played; None where a live source sets
        the pace itself.
    :param loop: whether to start over at the end.
    :param report: is called with a sentence for everything that is wrong and survived.
    :ivar fault: why a live source gives no images at this moment; '' while it does.
    :ivar num_retries: how often a live source was opened again.
    """

    def __init__(
        self, uri: str, *, rate: float | None, loop: bool, report: Callable[[str], None]
    ) -> None:
        self.uri = mask_secrets(uri)
        self.rate = rate
        self._loop = loop
        self._report = report
        self._closing = Event()
        self.num_frames = 0
        self.num_problems = 0
        self.fault = ''
        self.num_retries = 0

    def __iter__(self) -> Iterator[Frame]:
        """
        Give the frames, and start over at the end where the source loops.

        :return: the frames until the source ends or is closed.
        :raises SourceError: when a whole pass has no readable frame.
        """
        while not self._closing.is_set():
            before = self.num_frames
            for frame in self._play():
                self.num_frames += 1
                yield frame
                if self._closing.is_set():
                    return
            if self.num_frames == before and not self._closing.is_set():
                raise SourceError(f"source '{self.uri}' has no readable frame")
            if not self._loop:
                return

    def close(self) -> None:
        """End the iteration, also from another thread; closing twice is harmless."""
        self._closing.set()

    def __enter__(self) -> 'FrameSource':
        """Use the source in a ``with`` statement."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the source at the end of the ``with`` statement."""
        self.close()

    @abstractmethod
    def _play(self) -> Iterator[Frame]:
        """Give the frames of one pass, from the first on."""

    def _problem(self, sentence: str) -> None:
        """Count and report something wrong that is survived."""
        self.num_problems += 1
        self._report(sentence)
