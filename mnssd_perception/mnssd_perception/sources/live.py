"""Live cameras: a device, a network stream or a GStreamer pipeline."""

from abc import abstractmethod
from collections.abc import Iterator
import os
from pathlib import Path
import re
import stat

import cv2
from mnssd_perception.errors import SourceError
from mnssd_perception.sources.source import Frame, FrameSource, ignore, Report

# Delays before a lost stream is reopened [s]: the first, and the longest.
FIRST_WAIT = 0.5
LONGEST_WAIT = 8.0

# A network camera that is silent for longer is lost [ms]; FFmpeg's default is 30 s.
NETWORK_TIMEOUT_MS = 5000


class LiveSource(FrameSource):
    """
    A source that is reopened whenever it is lost.

    :param rate: frames per second to request from the camera; None for its default.
    :param retry: whether to open it in the iteration, where a missing camera is retried like a
        lost one; otherwise it must be there now.
    :raises SourceError: without ``retry``, when it cannot be opened.
    """

    def __init__(
        self, uri: str, *, rate: float | None = None, retry: bool = False, report: Report = ignore
    ) -> None:
        super().__init__(uri, rate=None, loop=False, report=report)
        self._requested_rate = rate
        self.num_losses = 0
        self._capture: cv2.VideoCapture | None = None if retry else self._open()

    @abstractmethod
    def _open(self) -> cv2.VideoCapture:
        """Open the camera or raise SourceError."""

    def _play(self) -> Iterator[Frame]:
        num, wait = 0, 0.0
        try:
            while not self._closing.is_set():
                if self._capture is None:
                    wait = self._reopen(wait)
                    continue
                okay, image = self._capture.read()
                if okay and image is not None and image.size:
                    num, wait, self.fault = num + 1, 0.0, ''
                    yield Frame(image, str(num))
                    continue
                self._release()
                self.num_losses += 1
                wait = _back_off(wait)
                self.fault = f"lost '{self.uri}' after {num} frames"
                self._problem(f'{self.fault}; reopening it in {wait:.1f} s')
        finally:
            self._release()

    def _reopen(self, wait: float) -> float:
        """Wait, try to open the camera, and return the delay before the next attempt [s]."""
        if self._closing.wait(wait):
            return wait
        if wait:
            self.num_retries += 1
        try:
            self._capture = self._open()
        except SourceError as error:
            wait = _back_off(wait)
            self.fault = str(error)
            self._problem(f'{error}; trying again in {wait:.1f} s')
        return wait

    def _release(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None


class DeviceSource(LiveSource):
    """
    A V4L2 camera.

    :param device: its path, such as ``/dev/video0``.
    :param size: (width, height) to request; None for the default of the camera.
    :param fourcc: pixel format to request; MJPG reaches the full rate at large sizes over USB.
    """

    def __init__(
        self,
        device: Path,
        *,
        size: tuple[int, int] | None = None,
        fourcc: str = 'MJPG',
        rate: float | None = None,
        retry: bool = False,
        report: Report = ignore,
    ) -> None:
        if len(fourcc) not in (0, 4):
            raise SourceError(f"expected a fourcc of 4 characters such as MJPG, got '{fourcc}'")
        self._device, self._size, self._fourcc = device, size, fourcc
        super().__init__(str(device), rate=rate, retry=retry, report=report)

    def _open(self) -> cv2.VideoCapture:
        _check_device(self._device)
        capture = cv2.VideoCapture(str(self._device), cv2.CAP_V4L2)
        if not capture.isOpened():
            raise SourceError(
                f"cannot open camera '{self._device}': it is busy or cannot capture; "
                f'list the processes that use it: fuser -v {self._device}'
            )
        # The order matters: the format determines the available sizes and rates.
        if self._fourcc:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*self._fourcc))
        if self._size:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._size[1])
        if self._requested_rate:
            capture.set(cv2.CAP_PROP_FPS, self._requested_rate)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a frame is fresh when it is read
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if self._size and self._size != (width, height):
            self._problem(
                f"camera '{self._device}' gives {width}x{height} instead of "
                f'{self._size[0]}x{self._size[1]}'
            )
        return capture


class StreamSource(LiveSource):
    """
    A network camera: RTSP, HTTP and whatever else FFmpeg opens.

    :param uri: its address; messages never show a password in it.
    """

    def __init__(self, uri: str, *, retry: bool = False, report: Report = ignore) -> None:
        self._address = uri
        super().__init__(uri, retry=retry, report=report)

    def _open(self) -> cv2.VideoCapture:
        # Only OpenCV's FFmpeg backend has a timeout.
        timeouts = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, NETWORK_TIMEOUT_MS,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC, NETWORK_TIMEOUT_MS,
        ]  # fmt: skip
        capture = cv2.VideoCapture(self._address, cv2.CAP_FFMPEG, timeouts)
        if not capture.isOpened():
            raise SourceError(
                f"cannot open stream '{self.uri}' within {NETWORK_TIMEOUT_MS / 1000:.0f} s: check "
                'address, user and password, and that the camera is on'
            )
        return capture


class PipelineSource(LiveSource):
    """
    A GStreamer pipeline.

    :param pipeline: as for ``gst-launch-1.0``; ``appsink`` is appended where it lacks one.
    :raises SourceError: also when OpenCV lacks GStreamer.
    """

    def __init__(self, pipeline: str, *, retry: bool = False, report: Report = ignore) -> None:
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
        self._pipeline = pipeline
        super().__init__(f'gst:{pipeline}', retry=retry, report=report)

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self._pipeline, cv2.CAP_GSTREAMER)
        if not capture.isOpened():
            raise SourceError(
                f"cannot start pipeline '{self._pipeline}'; test it with gst-launch-1.0 -v"
            )
        return capture


def _back_off(wait: float) -> float:
    return min(max(2 * wait, FIRST_WAIT), LONGEST_WAIT)


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
