"""A camera, a stream, a video or a folder of images, published as a ROS 2 node."""

from collections.abc import Callable, Sequence
import sys
from threading import Event, Thread
from time import monotonic
from typing import Any

from mnssd_perception.errors import MnssdError
from mnssd_perception.nodes.camera_parameters import CameraParameters
from mnssd_perception.nodes.camera_report import camera_report, CameraSnapshot
from mnssd_perception.nodes.lockstep import Lockstep
from mnssd_perception.nodes.parameter_names import OVERRIDABLE, PARAMETER_NAMES
from mnssd_perception.ros import qos
from mnssd_perception.ros.diagnostics import Diagnostics, Report
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

# A subscriber that we know may not know us yet, and would miss the first frame [s].
SETTLING = 0.5

# The last frame lies in this process's shared memory until it is taken [s].
LINGER = 0.3

# A read of a stream can hang for seconds; its thread is then left behind [s].
CLOSE_TIMEOUT = 1.0

DIAGNOSTICS_PERIOD = 1.0  # s

# Of a warning, which can hold names of files.
MAX_LOG_CHARS = 500


class CameraNode(Node):
    """
    The node ``camera``: plays a source in a thread of its own and publishes its frames.

    :param done: ends the process, at the end of the source or with what went wrong.
    :param sink: is handed every message; where given, DDS carries images only to others who
        subscribe.
    :param options: of :class:`rclpy.node.Node`.
    :raises MnssdError: when a parameter cannot be used or the source cannot be opened; a camera or
        stream that is missing is tried again instead.
    """

    def __init__(
        self, done: Future, *, sink: Callable[[Image], None] | None = None, **options: Any
    ) -> None:
        super().__init__('camera', **options)
        self._done, self._sink = done, sink
        self._values = Parameters(self, CameraParameters, known_names=PARAMETER_NAMES).values
        with qos.named_overrides(self, 'image', 'publisher'):
            self._publisher = self.create_publisher(
                Image, 'image', qos.image_out(), qos_overriding_options=qos.overridable()
            )
        self._closing = Event()
        self._source = self._open()
        self._lockstep = self._start_lockstep() if self._values.lockstep else None
        self._waiting, self._has_ended = '', False
        self._sent_bytes = 0
        self._heard = self._reported = monotonic()
        self._num_reported = 0
        self._diagnostics = Diagnostics(self, DIAGNOSTICS_PERIOD, self._report, self._source.uri)
        self._thread = Thread(target=self._play, name='camera', daemon=True)
        self._thread.start()

    def destroy_node(self) -> None:
        """Stop playing and give the source back."""
        self._closing.set()
        self._source.close()
        if self._lockstep is not None:
            self._lockstep.close()
        self._thread.join(CLOSE_TIMEOUT)
        self._diagnostics.destroy()
        super().destroy_node()

    def _open(self) -> FrameSource:
        """Open the source that the parameters name."""
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
        rate = f'{source.rate:g} Hz' if source.rate else 'its own pace'
        self.get_logger().info(f'playing {sanitize_text(source.uri)} at {rate}')
        return source

    def _warn(self, sentence: str) -> None:
        """Log what is wrong with the source and survived."""
        if self.context.ok():  # else the logger complains
            self.get_logger().warning(sanitize_text(sentence, MAX_LOG_CHARS))

    def _start_lockstep(self) -> Lockstep:
        """Listen to the detections."""
        lockstep = Lockstep(self.resolve_topic_name('detections'))
        self.create_subscription(
            Detection2DArray,
            'detections',
            lambda msg: lockstep.report(msg.header.stamp),
            qos.detections(),
        )
        return lockstep

    def _play(self) -> None:
        """Publish every frame when it is due; the body of the thread."""
        try:
            self._wait_for_subscribers()
            pacer = Pacer(self._source.rate, self._closing)
            frames = iter(self._source)
            # Read when the frame is due, not before, so that the stamp tells when it was taken.
            while pacer.wait() and (frame := next(frames, None)) is not None:
                # A read that hung may return long after the node was destroyed.
                if self._closing.is_set():
                    return
                self._heard = monotonic()
                self._publish(frame)
            if self._closing.is_set():
                return
        except Exception as error:
            # After a shutdown of the context every call into ROS fails, and nobody minds.
            if not self._closing.is_set() and self.context.ok():
                known = isinstance(error, MnssdError)
                self._done.set_exception(error if known else MnssdError(f'camera: {error!r}'))
            return
        self._has_ended = True
        self.get_logger().info(f'the source has ended after {self._source.num_frames} frames')
        if self._values.exit_at_end:
            self._closing.wait(LINGER)
            self._done.set_result(None)

    def _wait_for_subscribers(self) -> None:
        """Hold the first frame until it will be seen."""
        num = self._values.wait_for_subscribers
        if num:
            self._waiting = f'{num} subscribers of {self.resolve_topic_name("image")}'
        while self._publisher.get_subscription_count() < num:
            if self._closing.wait(SUBSCRIBER_POLL):
                return
        if num:
            self._closing.wait(SETTLING)
        self._waiting, self._heard = '', monotonic()

    def _publish(self, frame: Frame) -> None:
        """Stamp a frame with the present time and hand it on."""
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._values.frame_id)
        is_wanted = self._sink is not None or self._publisher.get_subscription_count() > 0
        if not (is_wanted or self._lockstep):
            self._sent_bytes = 0
            return
        msg = from_bgr(frame.image, header, self._values.encoding)
        if self._lockstep is None:
            self._send(msg)
        else:
            self._waiting = f'the detections of {frame.name}'
            if not self._lockstep.send(lambda: self._send(msg), header.stamp, frame.name):
                self._warn(
                    f'no detections of {frame.name}; the detector could not use it, see its '
                    'diagnostics'
                )
            self._waiting = ''

    def _send(self, msg: Image) -> None:
        """Hand a message on and publish it to those who subscribe."""
        if self._sink is not None:
            self._sink(msg)
        is_subscribed = self._publisher.get_subscription_count() > 0
        self._sent_bytes = len(msg.data) if is_subscribed else 0
        if is_subscribed:
            self._publisher.publish(msg)

    def _report(self) -> Report:
        """Sum up the last period for /diagnostics."""
        now, num_frames = monotonic(), self._source.num_frames
        snapshot = CameraSnapshot(
            source=self._source.uri,
            rate=(num_frames - self._num_reported) / max(now - self._reported, 1e-9),
            num_frames=num_frames,
            num_retries=self._source.num_retries,
            fault=self._source.fault,
            silence=now - self._heard,
            waiting=self._waiting,
            is_live=self._source.rate is None,
            has_ended=self._has_ended,
        )
        self._reported, self._num_reported = now, num_frames
        memory = read_shared_memory(get_rmw_implementation_identifier())
        transport = shared_memory_conditions(memory, self._sent_bytes)
        return camera_report(snapshot, [*transport, *check_overrides(self, OVERRIDABLE)])


def build(done: Future) -> list[Node]:
    """Make the node of this executable."""
    return [CameraNode(done)]


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until its source or the process ends."""
    return run(build, args)


if __name__ == '__main__':
    sys.exit(main())
