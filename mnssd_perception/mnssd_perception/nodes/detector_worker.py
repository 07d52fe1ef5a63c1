"""Run the detector in a thread: newest frame in, detections out."""

from collections.abc import Callable
from threading import Thread
from time import perf_counter

import cv2
from mnssd_perception.detector import Detector
from mnssd_perception.errors import EngineError, HungError, ImageError
from mnssd_perception.mailbox import Mailbox
from mnssd_perception.nodes.detector_stats import DetectorStats
from mnssd_perception.ros.images import to_rgb
from mnssd_perception.ssd import Detections
import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock
from rclpy.time import Time
from sensor_msgs.msg import Image

# The stamp of an image that seems older, or newer by as much, is of another clock [s].
FOREIGN_CLOCK = 3600.0

MIN_JOIN_TIME = 0.5  # between the last line of a thread and its end [s]


class DetectorWorker:
    """
    Processes the newest frame until it is closed.

    The thread makes no calls into the ROS context: the lock of the context is held while Kilted's
    ``rclpy.shutdown()`` destroys the node, which waits for this thread.

    :param detector: is used by this thread only.
    :param publish_overlay: is called after ``publish`` with the message, its image (RGB) and its
        detections. Running out of memory here costs only the overlay.
    :param max_age: returns the age above which a frame is dropped [s]; 0 drops none.
    :ivar failure: the unexpected exception that ended the thread, if one did.
    """

    def __init__(
        self,
        detector: Detector,
        publish: Callable[[Image, Detections], None],
        publish_overlay: Callable[[Image, NDArray[np.uint8], Detections], None],
        stats: DetectorStats,
        *,
        clock: Clock,
        max_age: Callable[[], float],
    ) -> None:
        self.failure: Exception | None = None
        self._detector, self._stats = detector, stats
        self._publish, self._publish_overlay = publish, publish_overlay
        self._clock, self._max_age = clock, max_age
        self._mailbox: Mailbox[Image] = Mailbox()
        self._is_abandoned = False
        self._thread = Thread(target=self._run, name='detector', daemon=True)
        self._thread.start()

    def submit(self, msg: Image) -> None:
        """Submit a frame, in place of one that was not taken yet; never blocks."""
        self._stats.receive()
        self._stats.drop_busy(self._mailbox.put(msg))

    def close(self, max_frame_time: float) -> None:
        """
        Finish the current frame and end the thread.

        :param max_frame_time: from its start [s].
        :raises HungError: when the thread does not end; it publishes nothing any more.
        """
        self._stats.drop_busy(self._mailbox.close())
        self._thread.join(max(max_frame_time - self._stats.frame_age(), MIN_JOIN_TIME))
        if self._thread.is_alive():
            self._is_abandoned = True
            raise HungError(
                f'expected the current frame to end within {max_frame_time:g} s, got none after '
                f'{self._stats.frame_age():.1f} s; the engine hangs, restart the process'
            )

    def _run(self) -> None:
        try:
            while (msg := self._mailbox.take()) is not None:
                self._stats.begin()
                self._process(msg)
        except Exception as error:
            self.failure = error

    def _process(self, msg: Image) -> None:
        max_age, age = self._max_age(), self._age(msg)
        if max_age and age is not None and age > max_age:
            self._stats.drop_stale()
            return
        try:
            started = perf_counter()
            image = to_rgb(msg)
            convert = perf_counter() - started
            detections, timings = self._detector.detect_timed(image)
            if not self._is_abandoned:
                self._publish(msg, detections)
            latency = self._age(msg)
        except ImageError as error:
            self._stats.fail('image', str(error))
        except EngineError as error:
            self._stats.fail('engine', str(error))
        except (MemoryError, cv2.error) as error:
            self._stats.fail('engine', _explain('the frame', error))
        else:
            overlay_error = ''
            try:
                if not self._is_abandoned:
                    self._publish_overlay(msg, image, detections)
            except (MemoryError, cv2.error) as error:
                overlay_error = _explain('the overlay', error)
            self._stats.process(timings, convert, latency, overlay_error)

    def _age(self, msg: Image) -> float | None:
        """Return the time since the stamp [s]; None for a stamp of another clock."""
        if msg.header.stamp.sec < 0:
            return None
        stamp = Time.from_msg(msg.header.stamp, clock_type=self._clock.clock_type)
        age = (self._clock.now() - stamp).nanoseconds / 1e9
        return age if abs(age) < FOREIGN_CLOCK else None


def _explain(what: str, error: Exception) -> str:
    is_memory = isinstance(error, MemoryError)  # OpenCV has its own exception for a lack of it
    return f'{"not enough memory for" if is_memory else "OpenCV fails on"} {what}: {error}'
