"""Publish a camera, a stream, a video or a folder of images."""

from collections.abc import Callable, Sequence
from functools import partial
import sys
from threading import Event, Thread
from time import monotonic
from typing import Any

from mnssd_msgs.msg import DetectorStatus
from mnssd_perception.errors import MnssdError
from mnssd_perception.nodes.lockstep import Lockstep
from mnssd_perception.nodes.parameters import CameraParameters, OVERRIDABLE, PARAMETER_NAMES
from mnssd_perception.ros import qos
from mnssd_perception.ros.diagnostics import Condition, Diagnostics, ERROR, Report, STALE
from mnssd_perception.ros.endpoints import check_overrides
from mnssd_perception.ros.images import from_bgr
from mnssd_perception.ros.parameters import Parameters
from mnssd_perception.ros.spin import run
from mnssd_perception.ros.transport import read_shared_memory, shared_memory_conditions
from mnssd_perception.sources import Frame, FrameSource, open_source, Pacer
from mnssd_perception.text import sanitize_text
from rclpy.node import Node
from rclpy.task import Future
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

SUBSCRIBER_POLL = 0.05  # s

# A discovered subscriber may not have discovered us yet, and would miss the first frame [s].
DISCOVERY_TIME = 0.5

LINGER = 0.3  # the last frame lies in the shared memory of this process until it is taken [s]
CLOSE_TIMEOUT = 1.0  # a read of a stream can hang for seconds; its thread is then left behind [s]
DIAGNOSTICS_PERIOD = 1.0  # s

# A camera that is silent for longer has failed, although its read has not returned yet [s].
SILENT_AFTER = 3.0

MAX_LOG_CHARS = 500  # of a warning, which may contain file names


class CameraNode(Node):
    """
    The node ``camera``: plays a source in a thread and publishes its frames.

    :param done: ends the process, at the end of the source or with an exception.
    :param sink: is called with every message; where given, images are published only to other
        subscribers.
    :raises MnssdError: when a parameter is invalid or a file cannot be opened.
    """

    def __init__(
        self, done: Future, *, sink: Callable[[Image], None] | None = None, **options: Any
    ) -> None:
        super().__init__('camera', **options)
        self._done, self._sink = done, sink
        self._values = Parameters(self, CameraParameters, known_names=PARAMETER_NAMES).values
        self._publisher = qos.create_overridable(
            self.create_publisher, Image, 'image', qos.image_out()
        )
        self._closing = Event()
        self._source = self._open_source()
        self._lockstep = self._create_lockstep() if self._values.lockstep else None
        self._waiting_for, self._has_ended = '', False
        self._sent_bytes = 0
        self._last_frame = self._last_report = monotonic()
        self._num_reported = 0
        self._diagnostics = Diagnostics(self, DIAGNOSTICS_PERIOD, self._report, self._source.uri)
        self._thread = Thread(target=self._play, name='camera', daemon=True)
        self._thread.start()

    def destroy_node(self) -> None:
        """Stop playing and close the source."""
        self._closing.set()
        self._source.close()
        if self._lockstep is not None:
            self._lockstep.close()
        self._thread.join(CLOSE_TIMEOUT)
        self._diagnostics.destroy()
        super().destroy_node()

    def _open_source(self) -> FrameSource:
        values = self._values
        source = open_source(
            values.source,
            rate=values.rate or None,
            loop=values.loop,
            size=(values.width, values.height) if values.width and values.height else None,
            fourcc=values.fourcc,
            retry=True,
            report=self._warn,
        )
        rate = f'{source.rate:g} Hz' if source.rate else 'the rate of the camera'
        self.get_logger().info(f'playing {sanitize_text(source.uri)} at {rate}')
        return source

    def _warn(self, message: str) -> None:
        if self.context.ok():  # else the logger complains
            self.get_logger().warning(sanitize_text(message, MAX_LOG_CHARS))

    def _create_lockstep(self) -> Lockstep:
        lockstep = Lockstep(self.resolve_topic_name('detections'))
        subscribe = partial(self.create_subscription, qos_profile=qos.detections())
        subscribe(Detection2DArray, 'detections', lambda msg: lockstep.report(msg.header.stamp))
        subscribe(DetectorStatus, 'detector/status', lockstep.report_status)
        return lockstep

    def _play(self) -> None:
        try:
            self._wait_for_subscribers()
            pacer = Pacer(self._source.rate, self._closing)
            frames = iter(self._source)
            # Read when the frame is due, not before: the stamp is the time of capture.
            while pacer.wait() and (frame := next(frames, None)) is not None:
                # A read that hung may return long after the node was destroyed.
                if self._closing.is_set():
                    return
                self._last_frame = monotonic()
                self._publish(frame)
            if self._closing.is_set():
                return
        except Exception as error:
            # After a shutdown of the context every call into ROS fails, which does not matter.
            if not self._closing.is_set() and self.context.ok():
                is_expected = isinstance(error, MnssdError)
                self._done.set_exception(
                    error if is_expected else MnssdError(f'camera: {error!r}')
                )
            return
        self._has_ended = True
        self.get_logger().info(f'the source has ended after {self._source.num_frames} frames')
        if self._values.exit_at_end:
            self._closing.wait(LINGER)
            self._done.set_result(None)

    def _wait_for_subscribers(self) -> None:
        num = self._values.wait_for_subscribers
        if not num:
            return
        self._waiting_for = f'{num} subscribers of {self.resolve_topic_name("image")}'
        while self._publisher.get_subscription_count() < num:
            if self._closing.wait(SUBSCRIBER_POLL):
                return
        self._closing.wait(DISCOVERY_TIME)
        self._waiting_for, self._last_frame = '', monotonic()

    def _publish(self, frame: Frame) -> None:
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._values.frame_id)
        has_subscribers = self._sink is not None or self._publisher.get_subscription_count() > 0
        if not (has_subscribers or self._lockstep):
            self._sent_bytes = 0
            return
        msg = from_bgr(frame.image, header, self._values.encoding)
        if self._lockstep is None:
            self._send(msg)
            return
        self._waiting_for = f'the detections of {frame.name}'
        reason = self._lockstep.send(lambda: self._send(msg), header.stamp, frame.name)
        if reason:
            self._warn(f'skipping {frame.name}, which has no detections: {reason}')
        self._waiting_for = ''

    def _send(self, msg: Image) -> None:
        if self._sink is not None:
            self._sink(msg)
        has_subscribers = self._publisher.get_subscription_count() > 0
        self._sent_bytes = len(msg.data) if has_subscribers else 0
        if has_subscribers:
            self._publisher.publish(msg)

    def _report(self) -> Report:
        now, num_frames = monotonic(), self._source.num_frames
        rate = (num_frames - self._num_reported) / max(now - self._last_report, 1e-9)
        self._last_report, self._num_reported = now, num_frames
        memory = read_shared_memory(get_rmw_implementation_identifier())
        transport = shared_memory_conditions(memory, self._sent_bytes)
        return make_report(
            self._source,
            rate=rate,
            silence=now - self._last_frame,
            waiting_for=self._waiting_for,
            has_ended=self._has_ended,
            conditions=[*transport, *check_overrides(self, OVERRIDABLE)],
        )


def make_report(
    source: FrameSource,
    *,
    rate: float,
    silence: float,
    waiting_for: str,
    has_ended: bool,
    conditions: Sequence[Condition] = (),
) -> Report:
    """
    Make the report of the camera node.

    :param rate: frames per second in the last period [Hz].
    :param silence: time since the last image, or since the start [s].
    :param waiting_for: what the camera is waiting for; '' while it plays.
    """
    problem = []
    if source.fault:
        problem = [Condition('source', ERROR, source.fault)]
    elif silence > SILENT_AFTER and not has_ended and waiting_for:
        problem = [Condition('waiting', STALE, f'waiting for {waiting_for}')]
    elif silence > SILENT_AFTER and not has_ended and source.rate is None:
        message = f"no image from '{source.uri}' for {silence:.0f} s"
        problem = [Condition('source', ERROR, message)]
    values = {
        'source': source.uri,
        'frames/s': f'{rate:.1f}',
        'frames': source.num_frames,
        'retries': source.num_retries,
    }
    summary = 'the source has ended' if has_ended else f'{rate:.1f} frames/s'
    return Report(summary, (*problem, *conditions), values)


def main(args: Sequence[str] | None = None) -> int:
    """Run the camera node until its source or the process ends."""
    return run(lambda done: [CameraNode(done)], args)


if __name__ == '__main__':
    sys.exit(main())
