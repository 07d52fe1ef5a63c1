"""Run camera and detector in one process; images are published only to other subscribers."""

from collections.abc import Sequence
import sys

from mnssd_perception.nodes.camera_node import CameraNode
from mnssd_perception.nodes.detector_node import DetectorNode
from mnssd_perception.ros.spin import run
from rclpy.node import Node
from rclpy.task import Future


def _build(done: Future) -> list[Node]:
    detector = DetectorNode(done, subscribe=False)
    return [detector, CameraNode(done, sink=detector.submit)]


def main(args: Sequence[str] | None = None) -> int:
    """Run the nodes until the source or the process ends."""
    return run(_build, args)


if __name__ == '__main__':
    sys.exit(main())
