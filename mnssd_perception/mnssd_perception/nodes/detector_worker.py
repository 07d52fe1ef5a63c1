"""Run the detector in a thread of its own: newest frame in, detections out."""

from collections.abc import Callable
from threading import Lock, Thread
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

# An image that seems older, or newer by as much, was stamped by a clock that is not ours [s].
FOREIGN_CLOCK = 3600.0

# Between the last line of a thread and its end [s].
LEAST_WAIT = 0.5

Publish = Callable[[Image, Detections], None]
Draw = Callable[[Image, NDArray[np.uint8], Detections], None]


class DetectorWorker:
    """
    Works on the newest frame until it is closed.

    The thread asks nothing of the ROS context: the lock of the context is held while Kilted's
    ``rclpy.shutdown()`` destroys the node, which waits for this thread.

    :param detector: is used by this thread alone.
    :param publish: is called with a message and what was found in it.
    :param draw: publishes the overlay; is called afterwards with the message, its image (RGB) and
        what was found in it. Too little memory for it costs the overlay alone.
    :param stats: is told what happens to each frame.
    :param clock: of the node, to tell the age of a frame.
    :param max_age: gives the age above which a frame is dropped [s]; 0 drops none.
    :ivar failure: the unexpected exception that ended the thread, if one did.
    """

    def __init__(
        self,
        detector: Detector,
        publish: Publish,
        draw: Draw,
        stats: DetectorStats,
        *,
        clock: Clock,
        max_age: Callable[[], float],
    ) -> None:
        self.failure: Exception | None = None
        self._detector, self._stats = detector, stats
        self._publish, self._draw = publish, draw
        self._clock, self._max_age = clock, max_age
        self._mailbox: Mailbox[Image] = Mailbox()
        self._counted, self._counting = 0, Lock()
        self._is_abandoned = False
        self._thread = Thread(target=self._work, name='detector', daemon=True)
        self._thread.start()

    def submit(self, msg: Image) -> None:
        """
        Leave a frame, in place of one that was not taken yet; never blocks.

        :param msg: the frame.
        """
        self._stats.receive()
        self._mailbox.put(msg)
        self._count_dropped()

    def close(self, longest_frame: float) -> None:
        """
        Finish the frame at hand and end the thread.

        :param longest_frame: longest time that a frame may take, from its beginning [s].
        :raises HungError: when the thread does not end; it publishes nothing any more.
        """
        self._mailbox.close()
        self._thread.join(max(longest_frame - self._stats.frame_age(), LEAST_WAIT))
        self._count_dropped()
        if self._thread.is_alive():
            self._is_abandoned = True
            raise HungError(
                f'expected the frame in work to end within {longest_frame:g} s, got none after '
                f'{self._stats.frame_age():.1f} s; the engine hangs, restart the process'
            )

    def _count_dropped(self) -> None:
        """Pass on how many frames were replaced."""
        with self._counting:
            dropped = self._mailbox.dropped
            self._stats.drop_busy(dropped - self._counted)
            self._counted = dropped

    def _work(self) -> None:
        """Take frames until the mailbox is closed."""
        try:
            while (msg := self._mailbox.take()) is not None:
                self._stats.begin()
                self._process(msg)
        except Exception as error:
            self.failure = error

    def _process(self, msg: Image) -> None:
        """Bring one frame to its end, whatever that is."""
        max_age = self._max_age()
        age = self._age(msg)
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
            overlay_error = self._try_to_draw(msg, image, detections)
            self._stats.process(timings, convert, latency, overlay_error)

    def _try_to_draw(self, msg: Image, image: NDArray[np.uint8], detections: Detections) -> str:
        """Publish the overlay, whose detections are out; return why that failed, '' if not."""
        if self._is_abandoned:
            return ''
        try:
            self._draw(msg, image, detections)
        except (MemoryError, cv2.error) as error:
            return _explain('the overlay', error)
        return ''

    def _age(self, msg: Image) -> float | None:
        """Measure the time since the stamp [s]; None for one of another clock."""
        if msg.header.stamp.sec < 0:
            return None
        stamp = Time.from_msg(msg.header.stamp, clock_type=self._clock.clock_type)
        age = (self._clock.now() - stamp).nanoseconds / 1e9
        return age if abs(age) < FOREIGN_CLOCK else None


def _explain(what: str, error: Exception) -> str:
    """Say what there was no memory for; OpenCV has an exception of its own."""
    if isinstance(error, MemoryError):
        return f'not enough memory for {what}: {error}'
    return f'OpenCV fails on {what}: {error}'
