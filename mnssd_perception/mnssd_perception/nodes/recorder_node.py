"""Detections and overlay to files and a live table, as a ROS 2 node."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
import sys
from time import monotonic
from typing import Any

from builtin_interfaces.msg import Time as Stamp
from mnssd_perception.errors import ImageError, RecordingError
from mnssd_perception.nodes.parameter_names import PARAMETER_NAMES
from mnssd_perception.nodes.recorder_parameters import RecorderParameters
from mnssd_perception.recording import (
    ContactSheet,
    FrameResult,
    Journal,
    prepare_folder,
    Table,
    VideoRecorder,
)
from mnssd_perception.ros import qos
from mnssd_perception.ros.detections import from_message
from mnssd_perception.ros.images import to_bgr
from mnssd_perception.ros.labels import class_names
from mnssd_perception.ros.parameters import Parameters
from mnssd_perception.ros.spin import run
import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo

# How often it looks whether the camera is still there, and how long frames that are on their way
# when it goes may take [s].
WATCH_PERIOD = 0.25
LAST_FRAMES = 1.0

# Without a publisher of each of them nothing more comes.
ENDING_TOPICS = ('image', 'detections')

# Every frame belongs into the video, also when encoding falls behind for a moment.
VIDEO_DEPTH = 20

# A stamp further away was made by another clock [s].
FOREIGN_CLOCK = 3600.0

NS = 10**9

# A slow disk may take long to finish the files [s].
FINISHING = 60.0


class RecorderNode(Node):
    """
    The node ``recorder``: shows detections in the terminal and writes down what was seen.

    It ends when the camera has gone, or is silent for long, after frames were seen. The header of
    each frame that is completely written goes out on ``recorded``, for a camera in lock-step.

    :param done: ends the process, at the end or with what went wrong.
    :param options: of :class:`rclpy.node.Node`.
    :raises RecordingError: when the folder cannot be written.
    """

    def __init__(self, done: Future, **options: Any) -> None:
        super().__init__('recorder', **options)
        self._done = done
        self._values = Parameters(self, RecorderParameters, known_names=PARAMETER_NAMES).values
        self._folder = Path(self._values.output).expanduser().absolute()
        prepare_folder(self._folder)
        self._journal = Journal(self._folder / 'detections.jsonl')
        self._video = VideoRecorder(self._folder / 'overlay.mp4')
        self._sheet = ContactSheet()
        self._table = Table(sys.stdout)
        self._names: dict[int, str] = {}
        self._captions: dict[int, str] = {}
        self._num_frames = self._num_objects = 0
        self._last_detections = self._last_overlay = 0  # stamps [ns]; 0 is that of no frame
        self._recorded = self.create_publisher(Detection2DArray, 'recorded', qos.detections())
        self._started = self._heard = monotonic()
        self._published: set[str] = set()  # of ENDING_TOPICS, those that had a publisher
        self._closed = False
        frames = qos.detections()
        frames.depth = VIDEO_DEPTH
        self._subscribe(Detection2DArray, 'detections', self._on_detections, frames)
        self._subscribe(Image, 'overlay', self._on_overlay, frames)
        # The last: a detector that is heard here has found the other subscriptions before.
        self._subscribe(LabelInfo, 'label_info', self._on_labels, qos.latched())
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(WATCH_PERIOD, self._watch, clock=steady)

    def destroy_node(self) -> None:
        """
        Finish the files, and say where they are.

        :raises RecordingError: when one of them cannot be finished; the others are, all the same.
        """
        problems = self._close()
        super().destroy_node()
        if problems:
            raise RecordingError('; '.join(problems))

    def _subscribe(self, kind: type, topic: str, callback: Any, profile: QoSProfile) -> None:
        """Subscribe a topic, and stop the process when something can not be written."""

        def guarded(msg: Any) -> None:
            try:
                callback(msg)
            except RecordingError as error:
                self._done.set_exception(error)

        self.create_subscription(kind, topic, guarded, profile)

    def _on_labels(self, msg: LabelInfo) -> None:
        """Learn the names of the classes; the detector is ready."""
        self._names = class_names(msg)
        if self._values.ready_file:
            Path(self._values.ready_file).touch()

    def _on_detections(self, msg: Detection2DArray) -> None:
        """Show and write down what was found in a frame."""
        self._heard = monotonic()
        stamp_ns = _nanoseconds(msg.header.stamp)
        # A camera in lock-step sends a frame again when its detections are late.
        if not stamp_ns or stamp_ns != self._last_detections:
            self._record(msg, stamp_ns)
        self._last_detections = stamp_ns
        self._acknowledge(msg.header)

    def _record(self, msg: Detection2DArray, stamp_ns: int) -> None:
        """Count a frame, and pass it to journal and table."""
        latency = (self.get_clock().now().nanoseconds - stamp_ns) / NS
        sighting = FrameResult(
            index=self._num_frames,
            stamp_ns=stamp_ns,
            frame_id=msg.header.frame_id,
            latency=latency if abs(latency) < FOREIGN_CLOCK else None,
            detections=from_message(msg),
            class_names=self._names,
        )
        self._num_frames += 1
        self._num_objects += len(sighting.detections)
        self._journal.add(sighting)
        self._table.show(sighting)
        self._captions[stamp_ns] = f'frame {sighting.index}: ' + (
            ', '.join(f'{num} {name}' for name, num in sighting.counts().items()) or 'nothing'
        )
        while len(self._captions) > VIDEO_DEPTH:
            self._captions.pop(next(iter(self._captions)))

    def _on_overlay(self, msg: Image) -> None:
        """Write an overlay into the video."""
        self._heard = monotonic()
        stamp_ns = _nanoseconds(msg.header.stamp)
        if not stamp_ns or stamp_ns != self._last_overlay:
            try:
                image: NDArray[np.uint8] = to_bgr(msg)
            except ImageError as error:
                self.get_logger().warning(f'bad overlay: {error}', throttle_duration_sec=5.0)
            else:
                self._video.add(image, stamp_ns)
                self._sheet.add(image, self._captions.get(stamp_ns, ''))
        self._last_overlay = stamp_ns
        self._acknowledge(msg.header)

    def _acknowledge(self, header: Header) -> None:
        """Report a frame whose detections and overlay are both written."""
        if self._last_detections == self._last_overlay:
            self._recorded.publish(Detection2DArray(header=header))

    def _watch(self) -> None:
        """End when there is nothing more to come."""
        silence = monotonic() - self._heard
        if not self._num_frames:
            if monotonic() - self._started > self._values.start_timeout:
                topic = self.resolve_topic_name('detections')
                self._done.set_exception(
                    RecordingError(
                        f'expected detections on {topic} within '
                        f'{self._values.start_timeout:.0f} s, got none; is a detector running?'
                    )
                )
            return
        # On a busy machine detections can arrive before their camera is discovered.
        published = {topic for topic in ENDING_TOPICS if self._has_publisher(topic)}
        has_gone = bool(self._published - published)
        self._published |= published
        if silence > (LAST_FRAMES if has_gone else self._values.idle_timeout):
            self._done.set_result(None)

    def _has_publisher(self, topic: str) -> bool:
        """Tell whether a publisher of a topic is known."""
        return self.count_publishers(self.resolve_topic_name(topic)) > 0

    def _close(self) -> list[str]:
        """Finish each file, once, and return what went wrong."""
        if self._closed:
            return []
        self._closed = True
        sheet = self._folder / 'contact_sheet.jpg'
        steps: dict[Path, Callable[[], None]] = {
            self._journal.path: self._journal.close,
            self._video.path: self._video.close,
            sheet: partial(self._sheet.write, sheet),
        }
        written: list[Path] = []
        problems: list[str] = []
        for path, finish in steps.items():
            try:
                finish()
            except RecordingError as error:
                problems.append(str(error))
            else:
                if path == self._journal.path or self._video.num_images:
                    written.append(path)
        latency = f', {self._table.latency_words()}' if self._num_frames else ''
        print(f'\n{self._num_frames} frames, {self._num_objects} detections{latency}')
        for path in written:
            print(f'  {path}')
        sys.stdout.flush()
        return problems


def _nanoseconds(stamp: Stamp) -> int:
    """Bring a stamp to nanoseconds."""
    return stamp.sec * NS + stamp.nanosec


def build(done: Future) -> list[Node]:
    """Make the node of this executable."""
    return [RecorderNode(done)]


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until there is nothing more to record."""
    return run(build, args, grace=FINISHING)


if __name__ == '__main__':
    sys.exit(main())
