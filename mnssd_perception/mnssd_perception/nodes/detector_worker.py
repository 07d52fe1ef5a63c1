"""The thread of the detector node: newest frame in, detections out."""

from collections.abc import Callable
from threading import Lock, Thread

from mnssd_perception.detector import Detector
from mnssd_perception.errors import ImageError
from mnssd_perception.mailbox import Mailbox
from mnssd_perception.nodes.detector_stats import DetectorStats
from mnssd_perception.ros.images import to_rgb
from mnssd_perception.ssd import Detections
import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock
from rclpy.time import Time
from sensor_msgs.msg import Image

__all__ = ['DetectorWorker']

# An image that seems older, or newer by as much, was stamped by a clock that is not ours [s].
FOREIGN_CLOCK = 3600.0

Publish = Callable[[Image, NDArray[np.uint8], Detections], None]


class DetectorWorker:
    """
    Works on the newest frame until it is closed.

    :param detector: is used by this thread alone.
    :param publish: is called with a message, its image (RGB) and what was found in it.
    :param stats: is told what happens to each frame.
    :param clock: of the node, to tell the age of a frame.
    :param max_age: gives the age above which a frame is dropped [s]; 0 drops none.
    :param on_bad_frame: is called with what is wrong with a frame that cannot be processed.
    :param on_failure: is called, once, with an unexpected exception; the thread then ends.
    """

    def __init__(
        self,
        detector: Detector,
        publish: Publish,
        stats: DetectorStats,
        *,
        clock: Clock,
        max_age: Callable[[], float],
        on_bad_frame: Callable[[str], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._detector, self._publish, self._stats = detector, publish, stats
        self._clock, self._max_age = clock, max_age
        self._on_bad_frame, self._on_failure = on_bad_frame, on_failure
        self._mailbox: Mailbox[Image] = Mailbox()
        self._counted, self._counting = 0, Lock()
        self._thread = Thread(target=self._work, name='detector', daemon=True)
        self._thread.start()

    def offer(self, msg: Image) -> None:
        """
        Leave a frame, in place of one that was not taken yet; never blocks.

        :param msg: the frame.
        """
        self._stats.receive()
        self._mailbox.put(msg)
        self._count_dropped()

    def close(self) -> None:
        """Finish the frame at hand and end the thread."""
        self._mailbox.close()
        self._thread.join()
        self._count_dropped()

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
                self._process(msg)
        except Exception as error:
            self._on_failure(error)

    def _process(self, msg: Image) -> None:
        """Bring one frame to its end, whatever that is."""
        max_age = self._max_age()
        age = self._age(msg)
        if max_age and age is not None and age > max_age:
            self._stats.drop_stale()
            return
        try:
            image = to_rgb(msg)
            detections, timings = self._detector.detect_timed(image)
        except ImageError as error:
            self._stats.fail(str(error))
            self._on_bad_frame(str(error))
            return
        self._publish(msg, image, detections)
        self._stats.process(timings, self._age(msg))

    def _age(self, msg: Image) -> float | None:
        """Measure the time since the stamp [s]; None for one of another clock."""
        if msg.header.stamp.sec < 0:
            return None
        stamp = Time.from_msg(msg.header.stamp, clock_type=self._clock.clock_type)
        age = (self._clock.now() - stamp).nanoseconds / 1e9
        return age if abs(age) < FOREIGN_CLOCK else None
