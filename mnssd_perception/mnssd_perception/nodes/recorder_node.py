"""Record detections and overlay images to files, and show them in the terminal."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
import sys
from time import monotonic
from typing import Any

from builtin_interfaces.msg import Time
from mnssd_perception.errors import ImageError, RecordingError
from mnssd_perception.nodes.parameters import PARAMETER_NAMES, RecorderParameters
from mnssd_perception.recording import (
    ContactSheet,
    DetectionLog,
    FrameResult,
    prepare_folder,
    Table,
    VideoRecorder,
)
from mnssd_perception.ros import qos
from mnssd_perception.ros.detections import from_label_info, from_message
from mnssd_perception.ros.diagnostics import create_steady_timer
from mnssd_perception.ros.images import to_bgr
from mnssd_perception.ros.parameters import Parameters
from mnssd_perception.ros.spin import run
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo

# How often it checks whether the camera is still there, and how long frames that were sent before
# the camera ended may take [s].
WATCH_PERIOD = 0.25
LAST_FRAMES = 1.0

# When a publisher of one of these is gone, no more messages come.
ENDING_TOPICS = ('image', 'detections')

VIDEO_DEPTH = 20  # every frame belongs in the video, also when encoding falls behind for a moment
FOREIGN_CLOCK = 3600.0  # the stamp of an image that is further away is of another clock [s]
NS = 10**9
SHUTDOWN_TIMEOUT = 60.0  # a slow disk may take long to finish the files [s]


class RecorderNode(Node):
    """
    The node ``recorder``: shows detections in the terminal and records them to files.

    It ends when the camera is gone, or is silent for long, after at least one frame. The header of
    each frame that is completely written is published on ``recorded``, for a camera in lock-step.

    :param done: ends the process, at the end or with an exception.
    :raises RecordingError: when the folder cannot be written.
    """

    def __init__(self, done: Future, **options: Any) -> None:
        super().__init__('recorder', **options)
        self._done = done
        self._values = Parameters(self, RecorderParameters, known_names=PARAMETER_NAMES).values
        self._folder = Path(self._values.output).expanduser().absolute()
        prepare_folder(self._folder)
        self._log = DetectionLog(self._folder / 'detections.jsonl')
        self._video = VideoRecorder(self._folder / 'overlay.mp4')
        self._sheet = ContactSheet()
        self._table = Table(sys.stdout)
        self._class_names: dict[int, str] = {}
        self._captions: dict[int, str] = {}  # by stamp
        self._num_frames = self._num_detections = 0
        self._last_detections = self._last_overlay = 0  # stamps [ns]; 0 for none
        self._recorded = self.create_publisher(Detection2DArray, 'recorded', qos.detections())
        self._start = self._last_message = monotonic()
        self._had_publisher: set[str] = set()  # of ENDING_TOPICS
        self._closed = False
        frames = qos.detections()
        frames.depth = VIDEO_DEPTH
        self._subscribe(Detection2DArray, 'detections', self._on_detections, frames)
        self._subscribe(Image, 'overlay', self._on_overlay, frames)
        # Last: a detector whose labels arrive has discovered the other subscriptions before.
        self._subscribe(LabelInfo, 'label_info', self._on_labels, qos.latched())
        create_steady_timer(self, WATCH_PERIOD, self._watch)

    def destroy_node(self) -> None:
        """Finish all files and print their paths; raise RecordingError if one has failed."""
        problems = self._close()
        super().destroy_node()
        if problems:
            raise RecordingError('; '.join(problems))

    def _subscribe(
        self, message_type: type, topic: str, callback: Callable, profile: QoSProfile
    ) -> None:
        def guarded(msg: Any) -> None:
            try:
                callback(msg)
            except RecordingError as error:
                self._done.set_exception(error)

        self.create_subscription(message_type, topic, guarded, profile)

    def _on_labels(self, msg: LabelInfo) -> None:
        self._class_names = from_label_info(msg)
        if self._values.ready_file:
            Path(self._values.ready_file).touch()

    def _on_detections(self, msg: Detection2DArray) -> None:
        self._last_message = monotonic()
        stamp_ns = _to_nanoseconds(msg.header.stamp)
        # A camera in lock-step publishes a frame again when its detections are late.
        if not stamp_ns or stamp_ns != self._last_detections:
            self._record(msg, stamp_ns)
        self._last_detections = stamp_ns
        self._acknowledge(msg.header)

    def _record(self, msg: Detection2DArray, stamp_ns: int) -> None:
        latency = (self.get_clock().now().nanoseconds - stamp_ns) / NS
        result = FrameResult(
            index=self._num_frames,
            stamp_ns=stamp_ns,
            frame_id=msg.header.frame_id,
            latency=latency if abs(latency) < FOREIGN_CLOCK else None,
            detections=from_message(msg),
            class_names=self._class_names,
        )
        self._num_frames += 1
        self._num_detections += len(result.detections)
        self._log.add(result)
        self._table.show(result)
        self._captions[stamp_ns] = f'frame {result.index}: {result.summary()}'
        while len(self._captions) > VIDEO_DEPTH:
            self._captions.pop(next(iter(self._captions)))

    def _on_overlay(self, msg: Image) -> None:
        self._last_message = monotonic()
        stamp_ns = _to_nanoseconds(msg.header.stamp)
        if not stamp_ns or stamp_ns != self._last_overlay:
            try:
                image = to_bgr(msg)
            except ImageError as error:
                self.get_logger().warning(f'invalid overlay: {error}', throttle_duration_sec=5.0)
            else:
                self._video.add(image, stamp_ns)
                self._sheet.add(image, self._captions.get(stamp_ns, ''))
        self._last_overlay = stamp_ns
        self._acknowledge(msg.header)

    def _acknowledge(self, header: Header) -> None:
        """Publish the header of a frame whose detections and overlay are both written."""
        if self._last_detections == self._last_overlay:
            self._recorded.publish(Detection2DArray(header=header))

    def _watch(self) -> None:
        now = monotonic()
        if not self._num_frames:
            if now - self._start > self._values.start_timeout:
                message = (
                    f'expected detections on {self.resolve_topic_name("detections")} within '
                    f'{self._values.start_timeout:.0f} s, got none; is a detector running?'
                )
                self._done.set_exception(RecordingError(message))
            return
        # On a busy machine detections can arrive before their camera is discovered.
        has_publisher = {
            topic
            for topic in ENDING_TOPICS
            if self.count_publishers(self.resolve_topic_name(topic))
        }
        is_gone = bool(self._had_publisher - has_publisher)
        self._had_publisher |= has_publisher
        if now - self._last_message > (LAST_FRAMES if is_gone else self._values.idle_timeout):
            self._done.set_result(None)

    def _close(self) -> list[str]:
        """Finish each file, once, print a summary and return the problems."""
        if self._closed:
            return []
        self._closed = True
        sheet = self._folder / 'contact_sheet.jpg'
        steps: dict[Path, Callable[[], None]] = {
            self._log.path: self._log.close,
            self._video.path: self._video.close,
            sheet: partial(self._sheet.write, sheet),
        }
        written, problems = [], []
        for path, finish in steps.items():
            try:
                finish()
            except RecordingError as error:
                problems.append(str(error))
            else:
                if path == self._log.path or self._video.num_images:
                    written.append(path)
        latency = f', {self._table.latency_summary()}' if self._num_frames else ''
        print(f'\n{self._num_frames} frames, {self._num_detections} detections{latency}')
        for path in written:
            print(f'  {path}')
        sys.stdout.flush()
        return problems


def _to_nanoseconds(stamp: Time) -> int:
    return stamp.sec * NS + stamp.nanosec


def main(args: Sequence[str] | None = None) -> int:
    """Run the recorder node until there is nothing more to record."""
    return run(lambda done: [RecorderNode(done)], args, SHUTDOWN_TIMEOUT)


if __name__ == '__main__':
    sys.exit(main())
