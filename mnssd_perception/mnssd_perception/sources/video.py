"""A video file as a camera."""

from collections.abc import Callable, Iterator
import math
from pathlib import Path

import cv2
from mnssd_perception.errors import SourceError
from mnssd_perception.sources.source import Frame, FrameSource

VIDEO_SUFFIXES = (
    '.avi', '.m4v', '.mjpeg', '.mkv', '.mov', '.mp4', '.mpg', '.mpeg', '.ts', '.webm',
)  # fmt: skip

# For files that do not say how fast they want to be played [Hz].
USUAL_RATE = 30.0


class VideoSource(FrameSource):
    """
    The frames of a video file at the file's own rate.

    :param path: the file.
    :param rate: frames a second; None for what the file says.
    :param loop: whether to start over at the end.
    :param report: is called with a sentence when the file breaks off.
    :raises SourceError: when the file is not a video that this OpenCV can decode.
    """

    def __init__(
        self,
        path: Path,
        *,
        rate: float | None = None,
        loop: bool = False,
        report: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._path = path
        capture = self._open()
        own_rate = capture.get(cv2.CAP_PROP_FPS)
        self._expected = int(max(0.0, capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        capture.release()
        plausible = math.isfinite(own_rate) and 0 < own_rate <= 1000
        usual = own_rate if plausible else USUAL_RATE
        super().__init__(str(path), rate=rate or usual, loop=loop, report=report)

    def _play(self) -> Iterator[Frame]:
        """Decode the file from the start."""
        capture = self._open()
        num = 0
        try:
            while True:
                okay, image = capture.read()
                if not okay:
                    break
                num += 1
                yield Frame(image, f'{self._path.name} frame {num}')
        finally:
            capture.release()
        # Containers count loosely, so only a clear gap is worth a word.
        if num < 0.9 * self._expected:
            self._problem(
                f"video '{self._path}' breaks off: expected {self._expected} frames, got {num}"
            )

    def _open(self) -> cv2.VideoCapture:
        """Open the file or say why not."""
        try:
            size = self._path.stat().st_size
        except OSError as error:
            raise SourceError(f"no video '{self._path}': {error.strerror}") from error
        if size == 0:
            raise SourceError(f"expected a video, got an empty file: '{self._path}'")
        capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            raise SourceError(
                f"cannot decode video '{self._path}': it is damaged or OpenCV lacks its codec; "
                'converting it helps: ffmpeg -i <file> -c:v libx264 <file>.mp4'
            )
        return capture
