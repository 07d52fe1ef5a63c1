"""Publish the results of the detector."""

from typing import Any

from mnssd_perception.bundle import Bundle
from mnssd_perception.engines import EngineInfo
from mnssd_perception.overlay import draw_detections
from mnssd_perception.ros import qos
from mnssd_perception.ros.detections import to_label_info, to_message
from mnssd_perception.ros.images import from_array
from mnssd_perception.ssd import Detections
from mnssd_perception.text import sanitize_text
import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo, VisionInfo


class DetectorPublishers:
    """
    The lifecycle publishers of the detector, which are silent while the node is not active.

    :ivar overlay_bytes: size of the last overlay; 0 while nobody subscribes.
    """

    def __init__(self, node: LifecycleNode, bundle: Bundle) -> None:
        self._node, self._bundle = node, bundle
        self._class_names = bundle.manifest.spec.class_names
        self._publishers: list[Any] = []
        self.overlay_bytes = 0
        try:
            self.detections = self._create(Detection2DArray, 'detections', qos.detections())
            self.overlay = self._create(Image, 'overlay', qos.image_out())
            self._label_info = self._create(LabelInfo, 'label_info', qos.latched())
            self._vision_info = self._create(VisionInfo, 'vision_info', qos.latched())
        except Exception:
            self.destroy()
            raise

    def _create(self, message_type: type, topic: str, profile: object) -> Any:
        publisher = qos.create_overridable(
            self._node.create_lifecycle_publisher, message_type, topic, profile
        )
        self._publishers.append(publisher)
        return publisher

    def destroy(self) -> None:
        """Destroy the publishers."""
        while self._publishers:
            self._node.destroy_lifecycle_publisher(self._publishers.pop())

    def publish_info(self, engine: EngineInfo, score_threshold: float, header: Header) -> None:
        """Publish the latched messages that explain the detections."""
        self._label_info.publish(to_label_info(self._class_names, score_threshold, header))
        method = sanitize_text(f'{self._bundle.name} {self._bundle.version}') + f' on {engine}'
        info = VisionInfo(header=header, method=method, database_location=self._bundle.digest)
        info.database_version = 1
        self._vision_info.publish(info)

    def publish_detections(self, msg: Image, detections: Detections) -> None:
        """Publish the detections in an image."""
        self.detections.publish(to_message(detections, msg.header))

    def publish_overlay(
        self, msg: Image, image: NDArray[np.uint8], detections: Detections
    ) -> None:
        """Publish the overlay, if it has subscribers."""
        overlay_bytes = 0
        if self.overlay.get_subscription_count():
            overlay = draw_detections(image, detections, self._class_names)
            overlay_msg = from_array(overlay, 'rgb8', msg.header)
            self.overlay.publish(overlay_msg)
            overlay_bytes = len(overlay_msg.data)
        self.overlay_bytes = overlay_bytes
