"""Record stamped images to a video that plays at the rate of capture."""

from itertools import pairwise
from pathlib import Path
from statistics import median

import cv2
from mnssd_perception.errors import RecordingError
from mnssd_perception.recording.folder import check_space
from mnssd_perception.ssd import fit_size, resize_image
import numpy as np
from numpy.typing import NDArray

NS = 10**9
NUM_MEASURED = 6  # the rate is measured on this many frames, which are buffered until then
DEFAULT_RATE = 10.0  # of a video of a single frame [Hz]
MIN_RATE, MAX_RATE = 1.0, 60.0  # Hz

# MPEG-4 does not support sides of 8192 pixels, and larger images would fill the memory.
MAX_SIDE = 4096

MIN_SIDE = 16  # the writer of OpenCV 4.5 overruns its memory with a video of 2 x 3000 pixels
MAX_PAUSE = 5.0  # longer pauses are shortened to this [s]
SPACE_CHECK_PERIOD = 100  # frames

Image = NDArray[np.uint8]


class VideoRecorder:
    """
    Writes images at a constant rate, and repeats an image where the next one is late.

    Images of another size than the first are fitted into it with black borders; those with a side
    of more than 4096 pixels are scaled down.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_images = 0
        self._pending: list[tuple[int, Image]] = []
        self._writer: cv2.VideoWriter | None = None
        self._rate = DEFAULT_RATE
        self._first_ns = self._written = 0
        self._size_wh = (0, 0)

    def add(self, image: Image, stamp_ns: int) -> None:
        """
        Write an image at the time of its stamp, or directly after one that is not earlier.

        :param image: ``(H, W, 3)`` uint8 BGR; is referenced until it is written.
        :raises RecordingError: when the disk is full or this OpenCV cannot write videos.
        """
        self.num_images += 1
        if self.num_images % SPACE_CHECK_PERIOD == 0:
            check_space(self.path.parent)
        if max(image.shape[:2]) > MAX_SIDE:
            image = resize_image(image, fit_size(image.shape[:2], (MAX_SIDE, MAX_SIDE)))
        self._pending.append((stamp_ns, image))
        # One image stays pending: it is repeated when the next one is late.
        if self._writer is not None:
            self._write_pending(keep=1)
        elif len(self._pending) >= NUM_MEASURED:
            self._open()

    def close(self) -> None:
        """Finish the file, or raise RecordingError; without an image there is none."""
        if self._writer is None and self._pending:
            self._open()
        if self._writer is None:
            return
        self._write_pending(keep=0)
        self._writer.release()
        self._writer = None
        capture = cv2.VideoCapture(str(self.path))
        okay, _ = capture.read()
        capture.release()
        if not okay:
            raise RecordingError(
                f"video '{self.path}' was not written completely; is the disk full?"
            )

    def _open(self) -> None:
        stamps = [stamp for stamp, _ in self._pending]
        steps = [after - before for before, after in pairwise(stamps) if after > before]
        rate = NS / median(steps) if steps else DEFAULT_RATE
        self._rate = round(min(max(rate, MIN_RATE), MAX_RATE), 1)
        self._first_ns = stamps[0]
        height, width = self._pending[0][1].shape[:2]
        # The codec subsamples colours, so the sides must be even.
        self._size_wh = (max(MIN_SIDE, width // 2 * 2), max(MIN_SIDE, height // 2 * 2))
        fourcc = cv2.VideoWriter_fourcc(*'mp4v')
        self._writer = cv2.VideoWriter(str(self.path), fourcc, self._rate, self._size_wh)
        if not self._writer.isOpened():
            self._writer = None
            raise RecordingError(
                f"cannot write video '{self.path}': this OpenCV has no encoder for MPEG-4"
            )
        self._write_pending(keep=1)

    def _write_pending(self, keep: int) -> None:
        assert self._writer is not None
        while len(self._pending) > keep:
            _, image = self._pending.pop(0)
            until = self._written + 1
            if self._pending:  # the index of the video frame at which the next image starts
                until = round((self._pending[0][0] - self._first_ns) / NS * self._rate)
            longest = self._written + int(MAX_PAUSE * self._rate) + 1
            fitted = _fit(image, self._size_wh)
            repeated = max(1, min(until, longest) - self._written)
            for _ in range(repeated):
                self._writer.write(fitted)
            if until > longest:  # the pause is shortened, so the following images move forward
                self._first_ns += int((until - longest) / self._rate * NS)
            self._written += repeated


def _fit(image: Image, size_wh: tuple[int, int]) -> Image:
    height, width = image.shape[:2]
    if (width // 2 * 2, height // 2 * 2) == size_wh:
        return np.ascontiguousarray(image[: size_wh[1], : size_wh[0]])
    fitted_height, fitted_width = fit_size((height, width), size_wh[::-1])
    canvas = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    left, top = (size_wh[0] - fitted_width) // 2, (size_wh[1] - fitted_height) // 2
    content = canvas[top : top + fitted_height, left : left + fitted_width]
    resize_image(image, content.shape[:2], content)
    return canvas
