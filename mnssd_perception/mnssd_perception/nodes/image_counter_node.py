"""Images to how many came and how late, as a ROS 2 node for measurements."""

from collections.abc import Sequence
import json
import sys
from typing import Any

from rclpy.node import Node
from rclpy.task import Future
from rclpy.time import Time
from sensor_msgs.msg import Image

from mnssd_perception.latency import LatencyWindow
from mnssd_perception.ros import qos
from mnssd_perception.ros.spin import run

__all__ = ['ImageCounterNode', 'main']

# Latencies that are kept: those of an hour at 30 Hz.
MOST = 108000


class ImageCounterNode(Node):
    """
    The node ``image_counter``: subscribes ``image`` as the detector does, and only counts.

    When it is asked to end it prints a line of JSON: ``received``, ``seconds`` from the first
    stamp to the last, and ``latency_p50`` and ``latency_p95`` from stamp to callback [s].

    :param done: is not used; a signal ends the process.
    :param options: of :class:`rclpy.node.Node`.
    """

    def __init__(self, done: Future, **options: Any) -> None:
        super().__init__('image_counter', **options)
        self._latencies = LatencyWindow(MOST)
        self._received = 0
        self._first: Time | None = None
        self._last: Time | None = None
        self.create_subscription(Image, 'image', self._on_image, qos.image_in())

    def destroy_node(self) -> None:
        """Print the figures."""
        span = (self._last - self._first).nanoseconds / 1e9 if self._first and self._last else 0.0
        figures = {
            'received': self._received,
            'seconds': span,
            'latency_p50': self._latencies.percentile(50),
            'latency_p95': self._latencies.percentile(95),
        }
        print(json.dumps(figures), flush=True)
        super().destroy_node()

    def _on_image(self, msg: Image) -> None:
        """Count an image."""
        now = self.get_clock().now()
        stamp = Time.from_msg(msg.header.stamp, clock_type=now.clock_type)
        self._received += 1
        self._first = self._first or stamp
        self._last = stamp
        self._latencies.add((now - stamp).nanoseconds / 1e9)


def build(done: Future) -> list[Node]:
    """Make the node of this executable."""
    return [ImageCounterNode(done)]


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is asked to end."""
    return run(build, args)


if __name__ == '__main__':
    sys.exit(main())
