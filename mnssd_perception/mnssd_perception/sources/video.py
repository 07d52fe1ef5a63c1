"""Play a video file."""

from collections.abc import Iterator
import math
from pathlib import Path

import cv2
from mnssd_perception.errors import SourceError
from mnssd_perception.sources.source import Frame, FrameSource, ignore, Report

VIDEO_SUFFIXES = (
    '.avi', '.m4v', '.mjpeg', '.mkv', '.mov', '.mp4', '.mpg', '.mpeg', '.ts', '.webm',
)  # fmt: skip

DEFAULT_RATE = 30.0  # for files that do not state their frame rate [Hz]


class VideoSource(FrameSource):
    """The frames of a video file."""

    def __init__(
        self, path: Path, *, rate: float | None = None, loop: bool = False, report: Report = ignore
    ) -> None:
        self._path = path
        capture = self._open()
        file_rate = capture.get(cv2.CAP_PROP_FPS)
        self._num_expected = int(max(0.0, capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        capture.release()
        if not (math.isfinite(file_rate) and 0 < file_rate <= 1000):
            file_rate = DEFAULT_RATE
        super().__init__(str(path), rate=rate or file_rate, loop=loop, report=report)

    def _play(self) -> Iterator[Frame]:
        capture = self._open()
        num = 0
        try:
            while (answer := capture.read())[0]:
                num += 1
                yield Frame(answer[1], f'{self._path.name} frame {num}')
        finally:
            capture.release()
        # The frame count of a container is approximate, so only a clear gap is reported.
        if num < 0.9 * self._num_expected:
            self._report(
                f"video '{self._path}' is truncated: expected {self._num_expected} frames, "
                f'got {num}'
            )

    def _open(self) -> cv2.VideoCapture:
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
                'convert it: ffmpeg -i <file> -c:v libx264 <file>.mp4'
            )
        return capture
