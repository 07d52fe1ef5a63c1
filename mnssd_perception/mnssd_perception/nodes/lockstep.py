"""Publish the next frame only when the detections of the last one have arrived."""

from collections.abc import Callable
from threading import Condition
from time import monotonic

from builtin_interfaces.msg import Time
from mnssd_msgs.msg import DetectorStatus
from mnssd_perception.errors import MnssdError

# A frame without detections is published again after this time [s]. A frame that was only slow is
# then detected twice, under the same stamp.
RESEND_AFTER = 5.0

# Until the first detections the detector may still be loading its network: no frame is skipped
# without a reason, and after this time it is an error [s].
TIMEOUT = 60.0

# Later, a frame without detections is skipped after this time [s], three times the longest that
# a detector works on one: detectors publish nothing for an invalid frame.
SKIP_AFTER = 30.0
MAX_SKIPPED = 3  # this many frames without detections in a row are an error


class Lockstep:
    """Publishes frames one at a time: the camera's thread waits, the executor reports results."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._condition = Condition()
        self._stamp: Time | None = None  # of the last detections
        self._closed = False
        self._has_detections = False
        self._num_failed: int | None = None
        self._failure = ''
        self._num_skipped = 0  # in a row

    def send(self, publish: Callable[[], None], stamp: Time, name: str) -> str:
        """
        Publish a frame, repeatedly if need be, and wait until its detections have arrived.

        :return: why the frame is skipped; '' when its detections have arrived.
        :raises MnssdError: when none arrive for the first frame within :data:`TIMEOUT`, or for
            :data:`MAX_SKIPPED` frames in a row.
        """
        timeout = SKIP_AFTER if self._has_detections else TIMEOUT
        deadline = monotonic() + timeout
        with self._condition:
            self._stamp, self._failure = None, ''
        while not self._failure and monotonic() < deadline:
            publish()
            with self._condition:
                self._condition.wait_for(
                    lambda: self._closed or self._stamp == stamp or self._failure, RESEND_AFTER
                )
                if self._closed or self._stamp == stamp:
                    self._has_detections, self._num_skipped = True, 0
                    return ''
        reason = self._failure or f'got none within {timeout:.0f} s'
        self._num_skipped += 1
        if (self._has_detections or self._failure) and self._num_skipped < MAX_SKIPPED:
            return reason
        num = self._num_skipped - 1
        earlier = f' and of the {num} frames before it' if num else ''
        raise MnssdError(
            f'expected detections of {name}{earlier} on {self._topic}, {reason}; is a detector '
            'running that supports these images?'
        )

    def report(self, stamp: Time) -> None:
        """Report that the detections of a frame have arrived."""
        with self._condition:
            self._stamp = stamp
            self._condition.notify_all()

    def report_status(self, status: DetectorStatus) -> None:
        """
        Report on how many frames the detector has failed so far, and why.

        Before the first detections no other frame is processed: the current one is skipped.
        """
        with self._condition:
            previous, self._num_failed = self._num_failed, status.frames_failed
            if previous is None:  # failures before the camera started do not count
                previous = status.frames_failed if status.frames_processed else 0
            if status.frames_failed > previous and not self._has_detections:
                self._failure = status.last_error
                self._condition.notify_all()

    def close(self) -> None:
        """End a wait; every later one ends at once."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
