"""Images to detections, as a ROS 2 node."""

from collections.abc import Sequence
import sys
import traceback
from typing import Any

from mnssd_msgs.msg import DetectorStatus
from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.detector import Detector, find_labels
from mnssd_perception.engines import EngineOptions, open_engine
from mnssd_perception.errors import MnssdError
from mnssd_perception.nodes.detector_parameters import (
    DetectorParameters,
    parameters_of,
    thresholds_of,
)
from mnssd_perception.nodes.detector_report import report, state_of, status_message
from mnssd_perception.nodes.detector_stats import DetectorStats
from mnssd_perception.nodes.detector_worker import DetectorWorker
from mnssd_perception.nodes.parameter_names import PARAMETER_NAMES
from mnssd_perception.overlay import draw_detections
from mnssd_perception.ros import qos
from mnssd_perception.ros.detections import to_message
from mnssd_perception.ros.diagnostics import Diagnostics, Report
from mnssd_perception.ros.images import from_array
from mnssd_perception.ros.labels import label_info, vision_info
from mnssd_perception.ros.parameters import Parameters
from mnssd_perception.ros.spin import run
from mnssd_perception.ssd import Detections
import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo, VisionInfo

__all__ = ['DetectorNode', 'main']

BAD_FRAME_LOG_PERIOD = 5.0  # s


class DetectorNode(LifecycleNode):
    """
    The node ``detector``: finds objects in each image and publishes them.

    Configuring loads bundle and engine, activating begins to look at images. With the parameter
    ``autostart`` it does both by itself.

    :param done: ends the process; gets an exception when the worker dies.
    :param subscribe: False where frames are handed to :meth:`offer` instead.
    :param options: of :class:`rclpy.node.Node`.
    :raises MnssdError: with ``autostart``, when bundle or engine cannot be used.
    """

    def __init__(self, done: Future, *, subscribe: bool = True, **options: Any) -> None:
        super().__init__('detector', **options)
        self._done, self._subscribe = done, subscribe
        self._worker: DetectorWorker | None = None
        self._detector: Detector | None = None
        self._failure = self._warning = ''
        self._declared = Parameters(
            self, DetectorParameters, thresholds_of, self._apply, PARAMETER_NAMES
        )
        if self._declared.values.autostart:
            self._configure()  # first without the state machine, so that an error ends the process
            self.trigger_configure()
            self.trigger_activate()

    def offer(self, msg: Image) -> None:
        """
        Look at an image next, in place of one that waits; ignored while the node is not active.

        :param msg: the image; it must not be changed afterwards.
        """
        worker = self._worker  # may be taken away by another thread
        if worker is not None:
            worker.offer(msg)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load bundle and engine."""
        try:
            if self._detector is None:
                self._configure()
        except MnssdError as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to look at images."""
        result = super().on_activate(state)
        self._announce()
        assert self._detector is not None  # configuring comes before activating
        self._worker = DetectorWorker(
            self._detector,
            self._publish,
            self._stats,
            clock=self.get_clock(),
            max_age=lambda: self._declared.values.max_age_ms / 1000,
            on_bad_frame=self._bad_frame,
            on_failure=self._fail,
        )
        if self._subscribe:
            self._subscription = self.create_subscription(
                Image,
                'image',
                self.offer,
                qos.image_in(),
                event_callbacks=qos.subscription_events(self._incompatible, self._topic),
                qos_overriding_options=qos.overridable(),
            )
        self.get_logger().info(f'looking at images on {self._topic}')
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop looking at images."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give bundle, engine and publishers back."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End from any state."""
        self._stop()
        self._release()
        return super().on_shutdown(state)

    def destroy_node(self) -> None:
        """Finish the frame at hand and give everything back."""
        self._stop()
        self._release()
        super().destroy_node()

    def _configure(self) -> None:
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
        self._stats = DetectorStats()
        self._topic = self.resolve_topic_name('image')
        self._create_publishers()
        self._diagnostics = Diagnostics(
            self, values.diagnostics_period, self._report, self._engine.info.device
        )
        self._detector = Detector(
            self._bundle, self._engine, thresholds_of(values), values.class_filter
        )
        info = self._engine.info
        self.get_logger().info(
            f'{self._bundle.name} {self._bundle.version} ({", ".join(names)}) '
            f'on {info.name} {info.version}, {info.precision}, {info.device}'
        )

    def _create_publishers(self) -> None:
        """Create what the node says, by topic."""

        def publisher(kind: type, topic: str, profile: object) -> Any:
            return self.create_lifecycle_publisher(
                kind, topic, profile, qos_overriding_options=qos.overridable()
            )

        self._detections = publisher(Detection2DArray, 'detections', qos.detections())
        self._overlay = publisher(Image, 'overlay', qos.image_out())
        self._label_info = publisher(LabelInfo, 'label_info', qos.latched())
        self._vision_info = publisher(VisionInfo, 'vision_info', qos.latched())
        # Not a lifecycle publisher: an inactive detector says that it is inactive.
        self._status = self.create_publisher(DetectorStatus, '~/status', qos.detections())

    def _announce(self) -> None:
        """Say what the detections mean, to those who are here and those who come later."""
        names = self._bundle.manifest.spec.class_names
        threshold = self._declared.values.score_threshold
        info = self._engine.info
        method = f'{self._bundle.name} {self._bundle.version} on {info.name} {info.version}'
        self._label_info.publish(label_info(names, threshold, self._now()))
        self._vision_info.publish(vision_info(method, self._bundle.digest, 1, self._now()))

    def _apply(self, values: DetectorParameters) -> None:
        """Take over parameters that changed."""
        if self._detector is not None:
            self._detector.configure(thresholds_of(values), values.class_filter)
            self._announce()

    def _publish(self, msg: Image, image: NDArray[np.uint8], detections: Detections) -> None:
        """Publish what was found in an image; called by the worker."""
        self._detections.publish(to_message(detections, msg.header))
        if self._overlay.get_subscription_count():
            names = self._bundle.manifest.spec.class_names
            drawn = draw_detections(image, detections, names)
            self._overlay.publish(from_array(drawn, 'rgb8', msg.header))

    def _report(self) -> Report:
        """Publish the status and make the report for /diagnostics."""
        snapshot = self._stats.snapshot()
        state = state_of(snapshot, self._failure, is_active=self._worker is not None)
        status = status_message(snapshot, state, self._engine.info, self._bundle, self._now())
        status.last_error = self._failure or status.last_error
        self._status.publish(status)
        return report(status, snapshot, self._topic, self._warning)

    def _bad_frame(self, reason: str) -> None:
        """Report a frame that cannot be used."""
        self.get_logger().warning(
            f'bad frame on {self._topic}: {reason}', throttle_duration_sec=BAD_FRAME_LOG_PERIOD
        )

    def _fail(self, error: Exception) -> None:
        """Report that the worker died, and end the process."""
        if not self.context.ok():
            return  # a signal ends the process already, and every call into ROS fails
        self._failure = f'{type(error).__name__}: {error}'
        trace = ''.join(traceback.format_exception(error))
        self.get_logger().fatal(f'the detector failed: {trace}')
        self._diagnostics.publish()
        self._done.set_exception(MnssdError(f'the detector failed: {self._failure}'))

    def _incompatible(self, sentence: str) -> None:
        """Report a publisher whose images cannot reach us."""
        self._warning = f'{sentence}; see the parameters qos_overrides'
        self.get_logger().warning(self._warning)

    def _stop(self) -> None:
        """End subscription and worker."""
        if self._worker is not None:
            worker, self._worker = self._worker, None
            if self._subscribe:
                self.destroy_subscription(self._subscription)
            worker.close()
            if self.context.ok():  # else the logger complains
                self.get_logger().info(str(self._stats.snapshot()))

    def _release(self) -> None:
        """Give bundle, engine and publishers back."""
        if self._detector is not None:
            self._detector = None
            self._diagnostics.destroy()
            self._engine.close()
            for publisher in (
                self._detections,
                self._overlay,
                self._label_info,
                self._vision_info,
            ):
                self.destroy_lifecycle_publisher(publisher)
            self.destroy_publisher(self._status)

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
