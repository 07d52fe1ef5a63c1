"""Hold back the next frame until the detections of the last one have arrived."""

from collections.abc import Callable
from threading import Condition
from time import monotonic

from builtin_interfaces.msg import Time
from mnssd_perception.errors import MnssdError

# A frame without detections is sent again after this time [s]. A frame that was only slow is then
# detected twice, under the same stamp.
RESEND_AFTER = 5.0

# Until the first detections the detector may still be loading its network: no frame is skipped,
# and after this time it is an error [s].
TIMEOUT = 60.0

# Later on, a frame without detections is skipped after this time [s], three times the longest that
# a detector works on one: detectors publish nothing for a frame that they cannot use. As many in a
# row as the second are an error.
SKIP_AFTER = 30.0
MOST_SKIPPED = 3


class Lockstep:
    """
    Sends frames one at a time: the thread of the camera waits, the executor reports detections.

    :param topic: of the detections, for messages.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._condition = Condition()
        self._arrived: Time | None = None
        self._closed = False
        self._is_answered = False
        self._num_unanswered = 0  # in a row

    def send(self, publish: Callable[[], None], stamp: Time, name: str) -> bool:
        """
        Publish a frame, again if need be, and wait until its detections have arrived.

        :param publish: publishes the frame.
        :param stamp: of the frame.
        :param name: of the frame, for messages.
        :return: False when the frame is skipped, as none have arrived within :data:`SKIP_AFTER`.
        :raises MnssdError: when none arrive for the first frame, within :data:`TIMEOUT`, or for
            :data:`MOST_SKIPPED` frames in a row.
        """
        limit = SKIP_AFTER if self._is_answered else TIMEOUT
        deadline = monotonic() + limit
        with self._condition:
            self._arrived = None
        while monotonic() < deadline:
            publish()
            with self._condition:
                if self._condition.wait_for(
                    lambda: self._closed or self._arrived == stamp, RESEND_AFTER
                ):
                    self._is_answered, self._num_unanswered = True, 0
                    return True
        self._num_unanswered += 1
        if self._is_answered and self._num_unanswered < MOST_SKIPPED:
            return False
        others = f' and of the {MOST_SKIPPED - 1} frames before it' if self._is_answered else ''
        raise MnssdError(
            f'expected detections of {name}{others} on {self._topic} within {limit:.0f} s, got '
            'none; is a detector running that takes these images?'
        )

    def report(self, stamp: Time) -> None:
        """
        Note that detections have arrived.

        :param stamp: of the frame that they are of.
        """
        with self._condition:
            self._arrived = stamp
            self._condition.notify_all()

    def close(self) -> None:
        """End a wait; every later one ends at once."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
