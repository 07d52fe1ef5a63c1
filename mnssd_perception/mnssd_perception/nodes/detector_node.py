"""Detect objects in images."""

from collections.abc import Sequence
import sys
from typing import Any

from mnssd_msgs.msg import DetectorStatus
from mnssd_perception.bundle import Bundle, open_bundle, shipped_bundle_path
from mnssd_perception.detector import Detector, find_labels
from mnssd_perception.nodes.detector_engine import DetectorEngine
from mnssd_perception.nodes.detector_publishers import DetectorPublishers
from mnssd_perception.nodes.detector_report import (
    complete_status,
    detector_conditions,
    determine_state,
    make_report,
)
from mnssd_perception.nodes.detector_stats import DetectorStats
from mnssd_perception.nodes.detector_worker import DetectorWorker
from mnssd_perception.nodes.parameters import (
    DetectorParameters,
    OVERRIDABLE,
    PARAMETER_NAMES,
    threshold_parameters,
)
from mnssd_perception.ros import qos
from mnssd_perception.ros.diagnostics import create_steady_timer, Diagnostics, Report
from mnssd_perception.ros.endpoints import check_overrides, check_publisher, check_subscription
from mnssd_perception.ros.lifecycle import ManagedNode
from mnssd_perception.ros.parameters import Parameters
from mnssd_perception.ros.spin import run
from mnssd_perception.ros.transport import TransportMonitor
from mnssd_perception.text import sanitize_text
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import Header

# Between two checks of the worker: a hung engine is reported before the next period [s].
WATCH_PERIOD = 0.2

MAX_FRAME_TIME = 10.0  # a frame that takes longer, on a machine however busy, never ends [s]


class DetectorNode(ManagedNode):
    """
    The node ``detector``: detects objects in each image and publishes them.

    Configuring loads bundle and engine, activating subscribes to images. With the parameter
    ``autostart`` it does both by itself.

    :param done: ends the process; gets the exception of the worker when that dies.
    :param subscribe: False where frames are passed to :meth:`submit` instead.
    :raises MnssdError: with ``autostart``, when bundle, engine or parameters cannot be used.
    """

    def __init__(self, done: Future, *, subscribe: bool = True, **options: Any) -> None:
        super().__init__('detector', **options)
        self._done, self._subscribe = done, subscribe
        self._bundle: Bundle | None = None
        self._engine = DetectorEngine(self.get_logger())
        self._detector: Detector | None = None
        self._outputs: DetectorPublishers | None = None
        self._worker: DetectorWorker | None = None
        self._subscription: Any = None
        self._stats = DetectorStats()
        self._was_hung = False
        self._topic = self.resolve_topic_name('image')
        self._declared = Parameters(
            self, DetectorParameters, lambda new: new.thresholds, self._apply, PARAMETER_NAMES
        )
        # Not a lifecycle publisher: an inactive detector reports that it is inactive.
        self._status_publisher = self.create_publisher(
            DetectorStatus, '~/status', qos.detections()
        )
        self._status = DetectorStatus()
        period = self._declared.values.diagnostics_period
        self._diagnostics = Diagnostics(
            self, period, self._report, on_conditions=self._publish_status
        )
        create_steady_timer(self, WATCH_PERIOD, self._watch)
        if self._declared.values.autostart:
            try:
                self.start()
            except Exception:
                self.destroy_node()
                raise

    def submit(self, msg: Image) -> None:
        """Process an image, which must not be changed, next; ignored unless the node is active."""
        worker = self._worker  # another thread may remove it
        if worker is not None:
            worker.submit(msg)

    def configure(self) -> None:
        """Load bundle and engine, and create the publishers."""
        values = self._declared.values
        self._bundle = open_bundle(values.bundle or shipped_bundle_path(), values.bundle_digest)
        self._declared.set_defaults(**threshold_parameters(self._bundle.manifest.thresholds))
        values = self._declared.values
        names = self._bundle.manifest.spec.class_names
        self._declared.replace_check(
            lambda new: (new.thresholds, find_labels(names, new.class_filter))
        )
        engine = self._engine.open(self._bundle, values, self._report_loading)
        self._outputs = DetectorPublishers(self, self._bundle)
        self._detector = Detector(engine, values.thresholds, values.class_filter)
        bundle = f'{self._bundle.name} {self._bundle.version} on {engine.info}'
        self.get_logger().info(sanitize_text(f'{bundle}: {", ".join(names)}', 500))

    def activate(self) -> None:
        """Subscribe to images and start the worker."""
        assert self._detector is not None  # configuring comes before activating
        assert self._outputs is not None
        self._publish_info()
        self._transport = TransportMonitor(self._topic)
        self._worker = DetectorWorker(
            self._detector,
            self._outputs.publish_detections,
            self._outputs.publish_overlay,
            self._stats,
            clock=self.get_clock(),
            max_age=lambda: self._declared.values.max_age_ms / 1000,
        )
        if self._subscribe:
            self._subscription = qos.create_overridable(
                self.create_subscription, Image, 'image', self._on_image, qos.image_in()
            )
        self.get_logger().info(f'waiting for images on {self._topic}')

    def deactivate(self) -> None:
        """Finish the current frame and stop; raise HungError if the engine does not return."""
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            self.destroy_subscription(subscription)
        if self._worker is not None:
            self._worker.close(max(MAX_FRAME_TIME, self._declared.values.engine_timeout))
            self._worker = None
            self._stats.forget_failures()
            if self.context.ok():  # else the logger complains
                self.get_logger().info(str(self._stats.snapshot()))

    def release(self) -> None:
        """Release bundle, engine and publishers."""
        self._detector = self._bundle = None
        if self._outputs is not None:
            publishers, self._outputs = self._outputs, None
            publishers.destroy()
        self._engine.close()

    def on_transition_requested(self) -> None:
        """Report the result at once."""
        self._diagnostics.publish()

    def _publish_info(self) -> None:
        assert self._outputs is not None
        assert self._detector is not None
        info, threshold = self._detector.engine.info, self._declared.values.score_threshold
        self._outputs.publish_info(info, threshold, self._header())

    def _report_loading(self) -> None:
        if self.context.ok():  # the process may be asked to end meanwhile
            self._diagnostics.publish()

    def _apply(self, values: DetectorParameters) -> None:
        if self._detector is not None:
            self._detector.configure(values.thresholds, values.class_filter)
            self._publish_info()

    def _on_image(self, msg: Image) -> None:
        self._transport.add(msg)
        self.submit(msg)

    def _watch(self) -> None:
        """Report at once a new engine, and that the worker died, hangs, or hangs no longer."""
        has_new_engine = self._follow_engine()
        is_hung = self._stats.frame_age() > self._declared.values.engine_timeout
        failure = self._worker.failure if self._worker is not None else None
        has_failed = failure is not None and not self._done.done()
        if has_failed or is_hung != self._was_hung or has_new_engine:
            self._was_hung = is_hung
            self._diagnostics.publish()
        if has_failed:
            self._done.set_exception(failure)

    def _follow_engine(self) -> bool:
        """Say whether an engine has failed or replaced another since the last call."""
        if not self._engine.has_changed():
            return False
        self._stats.restart_frame()  # which the new engine processes from its start
        if self._worker is not None:
            self._publish_info()
        return True

    def _report(self) -> Report:
        self._follow_engine()
        snapshot = self._stats.snapshot()
        failure = self._worker.failure if self._worker is not None else None
        timeout = self._declared.values.engine_timeout
        # A worker that hung while the node was deactivated still exists.
        is_active = self._worker is not None and self.transition_error is None
        engine = self._engine.state()
        state = determine_state(snapshot, failure, timeout, engine, is_active=is_active)
        if engine.info is not None:
            self._diagnostics.hardware_id = engine.info.device
        self._status = complete_status(
            snapshot, state, self._header(), engine, self._bundle, failure
        )
        conditions = list(
            detector_conditions(
                state, snapshot, self._topic, failure, self.transition_error, engine
            )
        )
        if self._subscription is not None:
            conditions += check_subscription(self, 'image', self._subscription)
        if self._outputs is not None:
            if self._worker is not None:
                self._transport.sent_bytes = self._outputs.overlay_bytes
                conditions += self._transport.conditions()
            conditions += check_publisher(self, 'detections', self._outputs.detections)
        conditions += check_overrides(self, OVERRIDABLE)
        return make_report(self._status, conditions, engine.rejections)

    def _publish_status(self, conditions: list[str]) -> None:
        self._status.conditions = conditions
        self._status_publisher.publish(self._status)

    def _header(self) -> Header:
        return Header(stamp=self.get_clock().now().to_msg())


def main(args: Sequence[str] | None = None) -> int:
    """Run the detector node until it is asked to end."""
    return run(lambda done: [DetectorNode(done)], args)


if __name__ == '__main__':
    sys.exit(main())
