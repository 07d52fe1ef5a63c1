"""Tests of how the detector node reports problems of its topics."""
# ruff: noqa: E402 (ROS is imported only where it is installed)

from functools import partial

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from builtin_interfaces.msg import Time as Stamp
from mnssd_msgs.msg import DetectorStatus
from mnssd_perception.nodes.detector_node import DetectorNode
from mnssd_perception.ros import qos, transport
from mnssd_perception.ros.diagnostics import OK, STALE, WARN
from mnssd_perception.ros.images import from_array
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

pytestmark = pytest.mark.ros

DOMAIN = 72

BLANK = np.zeros((8, 8, 3), np.uint8)


def test_incompatible_publisher_is_reported_until_destroyed(graph, start_detector):
    name = f'qos_overrides.{graph.namespace}/image.subscription.reliability'
    harness = start_detector(**{name: 'reliable'})
    camera = graph.node.create_publisher(Image, 'image', qos_profile_sensor_data)
    report = harness.report(lambda status: 'best_effort' in status.message)
    assert report.level in (WARN, STALE)
    harness.detect(BLANK)
    harness.publish(Image())
    # Does not hide other faults.
    report = harness.report(lambda status: 'invalid frames, 1 so far' in status.message)
    assert 'best_effort' in report.message
    graph.node.destroy_publisher(camera)
    harness.detect(BLANK)
    harness.report(lambda status: status.level == OK)
    assert 'best_effort' not in harness.next_report().message


@pytest.mark.parametrize(
    ('topic', 'kind', 'part'),
    [
        ('image', Image, 'expected one publisher on'),
        ('detections', Detection2DArray, 'expected one publisher on'),
    ],
)
def test_second_publisher_is_reported_until_destroyed(harness, topic, kind, part):
    publisher = harness.graph.node.create_publisher(kind, topic, 10)
    report = harness.report(lambda status: part in status.message)
    assert f'{part} {harness.graph.namespace}/{topic}' in report.message
    assert f'{harness.graph.namespace}/tester' in report.message
    harness.graph.node.destroy_publisher(publisher)
    harness.report(lambda status: part not in status.message)
    assert part not in harness.next_report().message


def test_compressed_images_are_reported(harness):
    # In another process or context, as DDS allows only one type for a topic in each.
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=DOMAIN)
    node = rclpy.create_node('camera', namespace=harness.graph.namespace, context=context)
    node.create_publisher(CompressedImage, 'image', 10)
    # Its name is discovered last.
    report = harness.report(lambda status: f'{harness.graph.namespace}/camera' in status.message)
    assert 'got sensor_msgs/msg/CompressedImage' in report.message
    assert 'republish' in report.message
    node.destroy_node()
    rclpy.shutdown(context=context)
    harness.report(lambda status: 'CompressedImage' not in status.message)


def test_lost_images_are_reported(harness):
    """A camera of 10 Hz of which four images arrive and the next six do not."""
    for index in (number for number in range(80) if number % 10 < 4):
        harness.detect(BLANK, stamp=Stamp(sec=1 + index // 10, nanosec=index % 10 * 10**8))
    status = harness.status(lambda msg: msg.conditions)
    assert len(status.conditions) == 1
    assert 'do not arrive' in status.conditions[0]


def test_overlay_without_shared_memory_is_reported_with_in_process_images(graph, monkeypatch):
    memory = transport.SharedMemory(segment=0, free=0)
    monkeypatch.setattr(transport, 'read_shared_memory', lambda _: memory)
    image = from_array(np.zeros((200, 200, 3), np.uint8), 'rgb8', Header())
    statuses = graph.listen(DetectorStatus, 'detector/status', qos.detections())
    detector = partial(DetectorNode, subscribe=False)
    node = graph.start(detector, warmup=0, diagnostics_period=0.1)

    def conditions_after(num_frames):
        node.submit(image)
        graph.wait(lambda: any(msg.frames_processed == num_frames for msg in statuses))
        statuses.clear()
        graph.wait(lambda: statuses)
        return statuses[0].conditions

    assert conditions_after(1) == []
    listener = graph.node.create_subscription(Image, 'overlay', lambda _: None, qos.detections())
    graph.wait(node._outputs.overlay.get_subscription_count)
    (condition,) = conditions_after(2)
    assert 'no shared memory' in condition
    graph.node.destroy_subscription(listener)
    graph.wait(lambda: not node._outputs.overlay.get_subscription_count())
    assert conditions_after(3) == []


def test_qos_override_without_effect_is_reported_by_name(graph, start_detector):
    name = f'qos_overrides.{graph.namespace}/imagee.subscription.reliability'
    harness = start_detector(**{name: 'reliable', name.replace('imagee', 'image'): 'reliable'})
    report = harness.report(lambda status: 'has no effect' in status.message)
    assert f"'{name}' has no effect; did you mean" in report.message
    assert report.message.count('no effect') == 1


def test_qos_override_of_the_camera_is_ignored(graph, start_detector):
    # One section of a parameter file, or one process, may hold both nodes.
    harness = start_detector(**{f'qos_overrides.{graph.namespace}/image.publisher.depth': 3})
    harness.detect(BLANK)
    assert harness.next_report().level == OK


def test_incompatible_subscriber_is_reported(harness):
    harness.graph.node.create_subscription(
        Detection2DArray, 'detections', lambda _: None, qos.latched()
    )
    harness.report(lambda status: 'transient_local' in status.message)
