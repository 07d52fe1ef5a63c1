"""Hold back the next frame until the detections of the last one have arrived."""

from collections.abc import Callable
from threading import Condition
from time import monotonic

from builtin_interfaces.msg import Time
from mnssd_perception.errors import MnssdError

__all__ = ['Lockstep']

# A frame without detections is sent again after the first time, and is an error after the
# second [s]. A frame that was only slow is then detected twice, under the same stamp.
RESEND_AFTER = 5.0
TIMEOUT = 60.0


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

    def send(self, publish: Callable[[], None], stamp: Time, name: str) -> None:
        """
        Publish a frame, again if need be, and wait until its detections have arrived.

        :param publish: publishes the frame.
        :param stamp: of the frame.
        :param name: of the frame, for messages.
        :raises MnssdError: when none arrive within :data:`TIMEOUT`.
        """
        deadline = monotonic() + TIMEOUT
        with self._condition:
            self._arrived = None
        while monotonic() < deadline:
            publish()
            with self._condition:
                if self._condition.wait_for(
                    lambda: self._closed or self._arrived == stamp, RESEND_AFTER
                ):
                    return
        raise MnssdError(
            f'expected detections of {name} on {self._topic} within {TIMEOUT:.0f} s, got none; '
            'is a detector running that takes these images?'
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
