"""Images to detections, as a ROS 2 node."""

from collections.abc import Sequence
import sys
from typing import Any

from mnssd_msgs.msg import DetectorStatus
from mnssd_perception.bundle import Bundle, open_bundle, shipped_bundle_path
from mnssd_perception.detector import Detector, find_labels
from mnssd_perception.engines import Engine, EngineOptions, open_engine
from mnssd_perception.nodes.cache_folder import cache_folder
from mnssd_perception.nodes.detector_parameters import (
    DetectorParameters,
    parameters_of,
    thresholds_of,
)
from mnssd_perception.nodes.detector_report import (
    find_conditions,
    make_report,
    make_status,
    state_of,
)
from mnssd_perception.nodes.detector_stats import DetectorStats
from mnssd_perception.nodes.detector_worker import DetectorWorker
from mnssd_perception.nodes.parameter_names import OVERRIDABLE, PARAMETER_NAMES
from mnssd_perception.overlay import draw_detections
from mnssd_perception.ros import qos
from mnssd_perception.ros.detections import to_message
from mnssd_perception.ros.diagnostics import Diagnostics, Report
from mnssd_perception.ros.endpoints import (
    check_overrides,
    check_publisher,
    check_subscription,
)
from mnssd_perception.ros.images import from_array
from mnssd_perception.ros.labels import label_info, vision_info
from mnssd_perception.ros.lifecycle import ManagedNode
from mnssd_perception.ros.parameters import Parameters
from mnssd_perception.ros.spin import run
from mnssd_perception.ros.transport import TransportMonitor
from mnssd_perception.self_test import run_self_test
from mnssd_perception.ssd import Detections
from mnssd_perception.text import sanitize_text
import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo, VisionInfo

# Between two looks at the worker, so that a hung engine is not reported a whole period late [s].
WATCH_PERIOD = 0.2

# A frame that takes longer, on a machine however busy, does not end [s].
LONGEST_FRAME = 10.0


class DetectorNode(ManagedNode):
    """
    The node ``detector``: finds objects in each image and publishes them.

    Configuring loads bundle and engine, activating begins to look at images. With the parameter
    ``autostart`` it does both by itself.

    :param done: ends the process; gets the exception of the worker when that dies.
    :param subscribe: False where frames are handed to :meth:`submit` instead.
    :param options: of :class:`rclpy.node.Node`.
    :raises MnssdError: with ``autostart``, when bundle, engine or parameters cannot be used.
    """

    def __init__(self, done: Future, *, subscribe: bool = True, **options: Any) -> None:
        super().__init__('detector', **options)
        self._done, self._subscribe = done, subscribe
        self._bundle: Bundle | None = None
        self._engine: Engine | None = None
        self._detector: Detector | None = None
        self._worker: DetectorWorker | None = None
        self._images: Any = None
        self._lifecycle_publishers: list[Any] = []
        self._stats = DetectorStats()
        self._was_hung = False
        self._topic = self.resolve_topic_name('image')
        self._declared = Parameters(
            self, DetectorParameters, thresholds_of, self._apply, PARAMETER_NAMES
        )
        # Not a lifecycle publisher: an inactive detector says that it is inactive.
        self._status = self.create_publisher(DetectorStatus, '~/status', qos.detections())
        self._status_message = DetectorStatus()
        period = self._declared.values.diagnostics_period
        self._diagnostics = Diagnostics(
            self, period, self._report, on_conditions=self._publish_status
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(WATCH_PERIOD, self._watch, clock=steady)
        if self._declared.values.autostart:
            try:
                self.start()
            except Exception:
                self.destroy_node()
                raise

    def submit(self, msg: Image) -> None:
        """
        Look at an image next, in place of one that waits; ignored while the node is not active.

        :param msg: the image; it must not be changed afterwards.
        """
        worker = self._worker  # may be taken away by another thread
        if worker is not None:
            worker.submit(msg)

    def configure(self) -> None:
        """Load bundle and engine, and create the publishers."""
        values = self._declared.values
        self._bundle = open_bundle(values.bundle or shipped_bundle_path(), values.bundle_digest)
        self._declared.set_defaults(**parameters_of(self._bundle.manifest.thresholds))
        values = self._declared.values
        names = self._bundle.manifest.spec.class_names
        self._declared.check_again(
            lambda new: (thresholds_of(new), find_labels(names, new.class_filter))
        )
        options = EngineOptions(values.threads, values.spinning)
        self._engine = open_engine(self._bundle, values.engine, options)
        blank = np.zeros((*self._bundle.manifest.spec.input_size, 3), np.uint8)
        for _ in range(values.warmup):
            self._engine.infer(blank)
        if not run_self_test(self._bundle, self._engine, cache_folder()):
            self.get_logger().warning(
                'the bundle has no golden frames with clear detections: nobody has checked what '
                'it finds on this machine'
            )
        self._detections = self._create(Detection2DArray, 'detections', qos.detections())
        self._overlay = self._create(Image, 'overlay', qos.image_out())
        self._label_info = self._create(LabelInfo, 'label_info', qos.latched())
        self._vision_info = self._create(VisionInfo, 'vision_info', qos.latched())
        self._detector = Detector(self._engine, thresholds_of(values), values.class_filter)
        self._diagnostics.hardware_id = self._engine.info.device
        self.get_logger().info(f'{self._method()}: {sanitize_text(", ".join(names))}')

    def activate(self) -> None:
        """Begin to look at images."""
        assert self._detector is not None  # configuring comes before activating
        self._announce()
        self._transport = TransportMonitor(self._topic)
        self._worker = DetectorWorker(
            self._detector,
            self._publish,
            self._draw,
            self._stats,
            clock=self.get_clock(),
            max_age=lambda: self._declared.values.max_age_ms / 1000,
        )
        if self._subscribe:
            with qos.named_overrides(self, 'image', 'subscription'):
                self._images = self.create_subscription(
                    Image,
                    'image',
                    self._on_image,
                    qos.image_in(),
                    qos_overriding_options=qos.overridable(),
                )
        self.get_logger().info(f'looking at images on {self._topic}')

    def deactivate(self) -> None:
        """
        Finish the frame at hand and stop looking at images.

        :raises HungError: when the engine does not return.
        """
        if self._images is not None:
            images, self._images = self._images, None
            self.destroy_subscription(images)
        if self._worker is not None:
            self._worker.close(max(LONGEST_FRAME, self._declared.values.engine_timeout))
            self._worker = None
            self._stats.forget_failures()
            if self.context.ok():  # else the logger complains
                self.get_logger().info(str(self._stats.snapshot()))

    def release(self) -> None:
        """Give bundle, engine and publishers back."""
        self._detector = self._bundle = None
        while self._lifecycle_publishers:
            self.destroy_lifecycle_publisher(self._lifecycle_publishers.pop())
        if self._engine is not None:
            engine, self._engine = self._engine, None
            engine.close()

    def on_transition_requested(self) -> None:
        """Report at once what came of it."""
        self._diagnostics.publish()

    def _create(self, message_type: type, topic: str, profile: object) -> Any:
        """Create a publisher that is silent while the node is not active."""
        with qos.named_overrides(self, topic, 'publisher'):
            publisher = self.create_lifecycle_publisher(
                message_type, topic, profile, qos_overriding_options=qos.overridable()
            )
        self._lifecycle_publishers.append(publisher)
        return publisher

    def _method(self) -> str:
        """Name what makes the detections."""
        assert self._bundle is not None
        assert self._engine is not None
        info = self._engine.info
        bundle = sanitize_text(f'{self._bundle.name} {self._bundle.version}')
        return f'{bundle} on {info.name} {info.version}, {info.precision}, {info.device}'

    def _announce(self) -> None:
        """Say what the detections mean, to those who are here and those who come later."""
        assert self._bundle is not None
        names = self._bundle.manifest.spec.class_names
        threshold = self._declared.values.score_threshold
        self._label_info.publish(label_info(names, threshold, self._now()))
        digest = self._bundle.digest
        self._vision_info.publish(vision_info(self._method(), digest, 1, self._now()))

    def _apply(self, values: DetectorParameters) -> None:
        """Take over parameters that changed."""
        if self._detector is not None:
            self._detector.configure(thresholds_of(values), values.class_filter)
            self._announce()

    def _publish(self, msg: Image, detections: Detections) -> None:
        """Publish what was found in an image; called by the worker."""
        self._detections.publish(to_message(detections, msg.header))

    def _draw(self, msg: Image, image: NDArray[np.uint8], detections: Detections) -> None:
        """Publish the overlay, if anybody wants it; called by the worker."""
        sent_bytes = 0
        if self._overlay.get_subscription_count():
            assert self._bundle is not None  # not released before the worker has ended
            names = self._bundle.manifest.spec.class_names
            overlay = from_array(draw_detections(image, detections, names), 'rgb8', msg.header)
            self._overlay.publish(overlay)
            sent_bytes = len(overlay.data)
        self._transport.sent_bytes = sent_bytes

    def _on_image(self, msg: Image) -> None:
        """Take an image from DDS."""
        self._transport.add(msg)
        self.submit(msg)

    def _watch(self) -> None:
        """Report at once that the worker has died or hangs, or hangs no longer."""
        is_hung = self._stats.frame_age() > self._declared.values.engine_timeout
        failure = self._worker.failure if self._worker is not None else None
        has_failed = failure is not None and not self._done.done()
        if has_failed or is_hung != self._was_hung:
            self._was_hung = is_hung
            self._diagnostics.publish()
        if has_failed:
            self._done.set_exception(failure)

    def _report(self) -> Report:
        """Sum up how the detector does."""
        snapshot = self._stats.snapshot()
        failure = self._worker.failure if self._worker is not None else None
        timeout = self._declared.values.engine_timeout
        # A worker that hung while the node was deactivated is still there.
        is_active = self._worker is not None and self.transition_error is None
        state = state_of(snapshot, failure, timeout, is_active=is_active)
        info = self._engine.info if self._engine is not None else None
        self._status_message = make_status(
            snapshot, state, self._now(), info, self._bundle, failure
        )
        conditions = [
            *find_conditions(state, snapshot, self._topic, failure, self.transition_error)
        ]
        if self._images is not None:
            conditions += check_subscription(self, 'image', self._images)
        if self._worker is not None:
            conditions += self._transport.conditions()
        if self._detector is not None:
            conditions += check_publisher(self, 'detections', self._detections)
        conditions += check_overrides(self, OVERRIDABLE)
        return make_report(self._status_message, conditions)

    def _publish_status(self, conditions: list[str]) -> None:
        """Publish the status that belongs to the last report."""
        self._status_message.conditions = conditions
        self._status.publish(self._status_message)

    def _now(self) -> Header:
        """Make a header for what is not about an image."""
        return Header(stamp=self.get_clock().now().to_msg())


def build(done: Future) -> list[Node]:
    """Make the node of this executable."""
    return [DetectorNode(done)]


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is asked to end."""
    return run(build, args)


if __name__ == '__main__':
    sys.exit(main())
