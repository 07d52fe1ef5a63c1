"""Image messages that no sane camera sends, for the worker of the detector node."""

import array
from time import sleep
from typing import Any

from mnssd_perception.encodings import ENCODINGS
from mnssd_perception.errors import ImageError
from mnssd_perception.nodes.detector_stats import DetectorStats
from mnssd_perception.nodes.detector_worker import DetectorWorker
from mnssd_perception.overlay import draw_detections
from mnssd_perception.ros.detections import to_message
import numpy as np
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mnssd_attack.target import Target

__all__ = ['attack_node']

STRANGE = (
    '', 'RGB8', 'rgb8 ', 'jpeg', '32FC1', '64FC4', '8UC', '8UC0', '8UC99', 'bgr16', 'rgb16',
    '\0', 'x' * 10_000, '%s%n', '../etc', '\N{PILE OF POO}', 'bayer_rggb16', 'nv12', '8SC3',
)  # fmt: skip
MOST = (1 << 32) - 1

POLL = 0.001  # s


def attack_node(target: Target, generator: np.random.Generator) -> None:
    """
    Send one message through what the node does with it: convert, detect, convert, draw.

    :param target: what is attacked.
    :param generator: of the message.
    """

    def publish(msg: Image, image: Any, detections: Any) -> None:
        target.check(detections, image.shape[:2])
        to_message(detections, msg.header)
        draw_detections(image, detections, target.detector.class_names)

    stats = DetectorStats()
    clock = Clock(clock_type=ClockType.ROS_TIME)
    worker = DetectorWorker(target.detector, publish, stats, clock=clock, max_age=lambda: 0.0)
    worker.offer(_message(generator))
    snapshot = stats.snapshot()
    while worker.failure is None and not snapshot.processed + snapshot.failed:
        sleep(POLL)
        snapshot = stats.snapshot()
    worker.close(60.0)
    if worker.failure is not None:
        raise worker.failure
    if snapshot.failed:
        raise ImageError(snapshot.last_error)


def _message(generator: np.random.Generator) -> Image:
    """Make a message that is wrong in some, all or none of its fields."""
    encoding = str(generator.choice(list(ENCODINGS)))
    height, width = (int(side) for side in generator.choice([1, 2, 3, 16, 65, 480, 640], 2))
    num_bytes = ENCODINGS[encoding].num_channels * np.dtype(ENCODINGS[encoding].dtype).itemsize
    step = width * num_bytes + int(generator.choice([0, 0, 0, 1, 7, 64]))
    length = height * step
    if generator.random() < 0.15:
        encoding = STRANGE[int(generator.integers(0, len(STRANGE)))]
    if generator.random() < 0.15:
        step = int(generator.choice([0, 1, width, step - 1, 2 * step, 1 << 31, MOST]))
    if generator.random() < 0.15:
        height = int(generator.choice([0, 1, height + 1, 32767, 65536, MOST]))
    if generator.random() < 0.15:
        width = int(generator.choice([0, 1, width + 1, 32767, 65536, MOST]))
    if generator.random() < 0.2:
        length = int(generator.choice([0, 1, max(0, length - 1), length + 1, 2 * length, 100]))
    msg = Image(
        header=_header(generator), height=height, width=width, encoding=encoding, step=step
    )
    msg.is_bigendian = int(generator.choice([0, 1, 255]))
    msg.data = array.array('B', generator.bytes(length))
    return msg


def _header(generator: np.random.Generator) -> Header:
    """Make a header with any stamp that the message can hold."""
    header = Header(frame_id=str(generator.choice(['camera', '', '/', 'x' * 5000])))
    header.stamp.sec = int(generator.choice([0, 1, -1, -(1 << 31), (1 << 31) - 1]))
    header.stamp.nanosec = int(generator.choice([0, 999_999_999, 1_000_000_000, MOST]))
    return header
