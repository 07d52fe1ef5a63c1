"""Live cameras: a device, a network stream or a GStreamer pipeline."""

from collections.abc import Callable, Iterator
import os
from pathlib import Path
import re
import stat

import cv2
from mnssd_perception.errors import SourceError
from mnssd_perception.sources.source import Frame, FrameSource, ignore, Report
from mnssd_perception.text import mask_secrets

# Delays before a lost stream is reopened [s]: the first, and the longest.
FIRST_WAIT = 0.5
LONGEST_WAIT = 8.0

# A network camera that is silent for longer is lost [ms]; FFmpeg's default is 30 s.
NETWORK_TIMEOUT_MS = 5000


class LiveSource(FrameSource):
    """
    A source that is reopened whenever it is lost.

    :param open_capture: opens the camera or raises SourceError.
    :param retry: whether a missing camera is retried like a lost one; otherwise it is an error.
    """

    def __init__(
        self,
        uri: str,
        open_capture: Callable[[], cv2.VideoCapture],
        *,
        retry: bool = False,
        report: Report = ignore,
    ) -> None:
        super().__init__(uri, rate=None, loop=False, report=report)
        self._open_capture = open_capture
        self._capture: cv2.VideoCapture | None = None if retry else open_capture()

    def _play(self) -> Iterator[Frame]:
        num, wait = 0, 0.0
        try:
            while not self._closing.is_set():
                if self._capture is None:
                    if self._closing.wait(wait):
                        return
                    self.num_retries += wait > 0
                    try:
                        self._capture = self._open_capture()
                    except SourceError as error:
                        wait = self._fail(str(error), 'trying again', wait)
                    continue
                okay, image = self._capture.read()
                if okay and image is not None and image.size:
                    num, wait, self.fault = num + 1, 0.0, ''
                    yield Frame(image, str(num))
                    continue
                self._release()
                wait = self._fail(f"lost '{self.uri}' after {num} frames", 'reopening it', wait)
        finally:
            self._release()

    def _fail(self, fault: str, reaction: str, last_wait: float) -> float:
        """Report a fault and return the delay before the next attempt [s]."""
        wait = min(max(2 * last_wait, FIRST_WAIT), LONGEST_WAIT)
        self.fault = fault
        self._report(f'{fault}; {reaction} in {wait:.1f} s')
        return wait

    def _release(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def open_device(
    device: Path,
    *,
    size: tuple[int, int] | None = None,
    fourcc: str = 'MJPG',
    rate: float | None = None,
    retry: bool = False,
    report: Report = ignore,
) -> LiveSource:
    """
    Open a V4L2 camera and request a size, a pixel format and a rate, if given.

    :param size: (width, height).
    :param fourcc: MJPG reaches the full rate at large sizes over USB.
    """
    if len(fourcc) not in (0, 4):
        raise SourceError(f"expected a fourcc of 4 characters such as MJPG, got '{fourcc}'")

    def open_capture() -> cv2.VideoCapture:
        _check_device(device)
        capture = _check_opened(
            cv2.VideoCapture(str(device), cv2.CAP_V4L2),
            f"cannot open camera '{device}': it is busy or cannot capture; "
            f'list the processes that use it: fuser -v {device}',
        )
        # The order matters: the format determines the available sizes and rates.
        if fourcc:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*fourcc))
        if size:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        if rate:
            capture.set(cv2.CAP_PROP_FPS, rate)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a frame is fresh when it is read
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if size and size != (width, height):
            report(f"camera '{device}' gives {width}x{height} instead of {size[0]}x{size[1]}")
        return capture

    return LiveSource(str(device), open_capture, retry=retry, report=report)


def open_stream(uri: str, *, retry: bool = False, report: Report = ignore) -> LiveSource:
    """Open a network camera: RTSP, HTTP and whatever else FFmpeg opens."""
    # Only OpenCV's FFmpeg backend has a timeout.
    timeouts = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, NETWORK_TIMEOUT_MS,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC, NETWORK_TIMEOUT_MS,
    ]  # fmt: skip
    failure = (
        f"cannot open stream '{mask_secrets(uri)}' within {NETWORK_TIMEOUT_MS / 1000:.0f} s: "
        'check address, user and password, and that the camera is on'
    )

    def open_capture() -> cv2.VideoCapture:
        return _check_opened(cv2.VideoCapture(uri, cv2.CAP_FFMPEG, timeouts), failure)

    return LiveSource(uri, open_capture, retry=retry, report=report)


def open_pipeline(pipeline: str, *, retry: bool = False, report: Report = ignore) -> LiveSource:
    """Open a GStreamer pipeline, to which ``appsink`` is appended where it lacks one."""
    if not re.search(r'GStreamer:\s*YES', cv2.getBuildInformation()):
        raise SourceError(
            "source 'gst:' needs an OpenCV with GStreamer, and this one was built without "
            '(wheels from PyPI are); install the system package python3-opencv, or name a '
            'camera such as /dev/video0 or rtsp://'
        )
    if 'appsink' not in pipeline:
        # Convert to what OpenCV reads, and keep only the newest frame.
        pipeline += ' ! videoconvert ! video/x-raw,format=BGR'
        pipeline += ' ! appsink drop=true max-buffers=1 sync=false'
    failure = f"cannot start pipeline '{pipeline}'; test it with gst-launch-1.0 -v"

    def open_capture() -> cv2.VideoCapture:
        return _check_opened(cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER), failure)

    return LiveSource(f'gst:{pipeline}', open_capture, retry=retry, report=report)


def _check_opened(capture: cv2.VideoCapture, failure: str) -> cv2.VideoCapture:
    if not capture.isOpened():
        raise SourceError(failure)
    return capture


def _check_device(device: Path) -> None:
    """Explain what is wrong with a device file; OpenCV only fails to open it."""
    try:
        mode = device.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        available = ', '.join(sorted(str(path) for path in Path('/dev').glob('video*'))) or 'none'
        reason = getattr(error, 'strerror', error)
        raise SourceError(
            f"no camera '{device}' ({reason}); available video devices: {available}"
        ) from error
    if not stat.S_ISCHR(mode):
        raise SourceError(f"expected a video device, got another kind of file: '{device}'")
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceError(
            f"no permission for camera '{device}'; add the user to its group: "
            'sudo usermod -aG video $USER, then log in again'
        )
