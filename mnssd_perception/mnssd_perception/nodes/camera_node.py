"""A camera, a stream, a video or a folder of photographs to images, as a ROS 2 node."""

from collections.abc import Callable, Sequence
import sys
from threading import Event, Thread
from typing import Any

from mnssd_perception.errors import MnssdError
from mnssd_perception.nodes.camera_parameters import CameraParameters
from mnssd_perception.nodes.parameter_names import PARAMETER_NAMES
from mnssd_perception.ros import qos
from mnssd_perception.ros.images import from_bgr
from mnssd_perception.ros.parameters import Parameters
from mnssd_perception.ros.spin import run
from mnssd_perception.sources import FrameSource, open_source
from mnssd_perception.sources.pacing import Pacer
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import Header

__all__ = ['CameraNode', 'main']

SUBSCRIBER_POLL = 0.05  # s

# A subscriber that we know may not know us yet, and would miss the first frame [s].
SETTLING = 0.5

# The last frame lies in this process's shared memory until it is taken [s].
LINGER = 0.3


class CameraNode(Node):
    """
    The node ``camera``: plays a source in a thread of its own and publishes its frames.

    :param done: ends the process, at the end of the source or with what went wrong.
    :param sink: is handed every message; where given, DDS carries images only to others who
        subscribe.
    :param options: of :class:`rclpy.node.Node`.
    :raises MnssdError: when the source cannot be opened.
    """

    def __init__(
        self, done: Future, *, sink: Callable[[Image], None] | None = None, **options: Any
    ) -> None:
        super().__init__('camera', **options)
        self._done, self._sink = done, sink
        self._values = Parameters(self, CameraParameters, known_names=PARAMETER_NAMES).values
        self._publisher = self.create_publisher(
            Image, 'image', qos.image_out(), qos_overriding_options=qos.overridable()
        )
        self._closing = Event()
        self._source = self._open()
        self._thread = Thread(target=self._play, name='camera', daemon=True)
        self._thread.start()

    def destroy_node(self) -> None:
        """Stop playing and give the source back."""
        self._closing.set()
        self._source.close()
        self._thread.join()
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
            report=lambda sentence: self.get_logger().warning(sentence),
        )
        rate = f'{source.rate:g} Hz' if source.rate else 'its own pace'
        self.get_logger().info(f'playing {source.uri} at {rate}')
        return source

    def _play(self) -> None:
        """Publish every frame when it is due; the body of the thread."""
        try:
            self._wait_for_subscribers()
            pacer = Pacer(self._source.rate, self._closing)
            frames = iter(self._source)
            # Read when the frame is due, not before, so that the stamp tells when it was taken.
            while pacer.wait() and (frame := next(frames, None)) is not None:
                self._publish(frame.image)
            if self._closing.is_set():
                return
        except Exception as error:
            # After a shutdown of the context every call into ROS fails, and nobody minds.
            if not self._closing.is_set() and self.context.ok():
                known = isinstance(error, MnssdError)
                self._done.set_exception(error if known else MnssdError(f'camera: {error!r}'))
            return
        self.get_logger().info(f'the source has ended after {self._source.num_frames} frames')
        if self._values.exit_at_end:
            self._closing.wait(LINGER)
            self._done.set_result(None)

    def _wait_for_subscribers(self) -> None:
        """Hold the first frame until it will be seen."""
        while self._publisher.get_subscription_count() < self._values.wait_for_subscribers:
            if self._closing.wait(SUBSCRIBER_POLL):
                return
        if self._values.wait_for_subscribers:
            self._closing.wait(SETTLING)

    def _publish(self, image: NDArray) -> None:
        """Stamp a frame with the present time and hand it on."""
        stamp = self.get_clock().now().to_msg()
        is_subscribed = self._publisher.get_subscription_count() > 0
        if self._sink is None and not is_subscribed:
            return
        header = Header(stamp=stamp, frame_id=self._values.frame_id)
        msg = from_bgr(image, header, self._values.encoding)
        if self._sink is not None:
            self._sink(msg)
        if is_subscribed:
            self._publisher.publish(msg)


def build(done: Future) -> list[Node]:
    """Make the node of this executable."""
    return [CameraNode(done)]


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until its source or the process ends."""
    return run(build, args)


if __name__ == '__main__':
    sys.exit(main())
