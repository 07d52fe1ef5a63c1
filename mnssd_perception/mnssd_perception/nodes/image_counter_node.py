"""Images to when they were taken and came, as a ROS 2 node for measurements."""

from collections.abc import Sequence
import json
import sys
from typing import Any

from mnssd_perception.ros import qos
from mnssd_perception.ros.spin import run
from rclpy.node import Node
from rclpy.task import Future
from rclpy.time import Time
from sensor_msgs.msg import Image


class ImageCounterNode(Node):
    """
    The node ``image_counter``: subscribes ``image`` as the detector does, and only notes times.

    When the process is asked to end, the node prints a line of JSON: ``stamps_ns`` of the images
    and ``arrivals_ns``, when their callback ran.

    :param done: is not used; a signal ends the process.
    :param options: of :class:`rclpy.node.Node`.
    """

    def __init__(self, done: Future, **options: Any) -> None:
        super().__init__('image_counter', **options)
        self._stamps_ns: list[int] = []
        self._arrivals_ns: list[int] = []
        self.create_subscription(Image, 'image', self._on_image, qos.image_in())

    def destroy_node(self) -> None:
        """Print the times."""
        times = {'stamps_ns': self._stamps_ns, 'arrivals_ns': self._arrivals_ns}
        print(json.dumps(times), flush=True)
        super().destroy_node()

    def _on_image(self, msg: Image) -> None:
        """Note the times of an image."""
        self._arrivals_ns.append(self.get_clock().now().nanoseconds)
        self._stamps_ns.append(Time.from_msg(msg.header.stamp).nanoseconds)


def build(done: Future) -> list[Node]:
    """Make the node of this executable."""
    return [ImageCounterNode(done)]


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is asked to end."""
    return run(build, args)


if __name__ == '__main__':
    sys.exit(main())
