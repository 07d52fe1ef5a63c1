"""Tests of the detections, overlays and status that the detector node publishes."""
# ruff: noqa: E402 (ROS is imported only where it is installed)

import array
import math

from mnssd_perception.ssd import Thresholds
import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from builtin_interfaces.msg import Time as Stamp
from mnssd_perception.nodes import detector_publishers
from mnssd_perception.ros import qos
from mnssd_perception.ros.detections import from_message
from mnssd_perception.ros.diagnostics import OK, STALE, WARN
from mnssd_perception.ros.images import from_array
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo, VisionInfo

pytestmark = pytest.mark.ros

DOMAIN = 63

BLANK = np.zeros((8, 8, 3), np.uint8)


def test_image_without_objects_gives_empty_array(harness):
    header = {'stamp': Stamp(sec=12, nanosec=34), 'frame_id': 'nose camera'}
    for shape in ((512, 640, 3), (1, 1, 3)):
        msg = harness.detect(np.zeros(shape, np.uint8), **header)
        assert list(msg.detections) == []
        assert msg.header == Header(**header)


def test_detections_equal_those_of_the_detector_and_header_is_copied(harness, sample):
    image, expected = sample
    header = Header(stamp=Stamp(sec=2**31 - 1, nanosec=999999999), frame_id='camera/日本')
    msg = harness.detect(image, stamp=header.stamp, frame_id=header.frame_id)
    assert msg.header == header
    assert all(detection.header == header for detection in msg.detections)
    found = from_message(msg)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.01)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_array_equal(found.labels, expected.labels)


@pytest.mark.parametrize('profile', [qos_profile_sensor_data, 10], ids=['best effort', 'reliable'])
def test_subscription_is_compatible_with_every_publisher(graph, sample, profile, start_detector):
    harness = start_detector()
    camera = graph.publisher(Image, 'image', profile)
    msg = from_array(sample[0], 'rgb8', Header())

    def seen():
        camera.publish(msg)  # best effort may lose one
        return harness.detections

    graph.wait(seen)


def test_changed_threshold_takes_effect(harness, sample):
    image, found = sample
    assert len(from_message(harness.detect(image))) == len(found)
    assert harness.set('score_threshold', 0.6).successful
    scores = from_message(harness.detect(image)).scores
    assert 0 < len(scores) == (found.scores >= 0.6).sum() < len(found)
    assert scores.min() >= 0.6
    assert harness.set('max_detections', 1).successful
    assert len(harness.detect(image).detections) == 1


def test_class_filter_takes_effect_until_removed(harness, sample, bundle):
    image, found = sample
    names = bundle.manifest.spec.class_names
    best = int(found.labels[found.scores.argmax()])
    for label, name in enumerate(names):
        assert harness.set('class_filter', [name]).successful
        labels = from_message(harness.detect(image)).labels
        assert set(labels.tolist()) <= {label}
        assert label != best or len(labels)
    for empty in ([''], []):
        assert harness.set('class_filter', [names[0]]).successful
        assert harness.set('class_filter', empty).successful
        assert len(harness.detect(image).detections) == len(found)


@pytest.mark.parametrize(
    ('name', 'value', 'word'),
    [
        ('score_threshold', 7.0, '7.0'),
        ('score_threshold', math.nan, 'nan'),
        ('score_threshold', 0.0, 'score'),
        ('score_threshold', 1, 'type'),
        ('iou_threshold', -0.5, '-0.5'),
        ('max_detections', 0, '0'),
        ('class_filter', ['Zeppelin'], 'Zeppelin'),
        ('class_filter', 'Car', 'list'),
        ('class_filter', 3, 'list'),
        ('bundle', '/another', 'read-only'),
        ('engine', 'abacus', 'read-only'),
        ('altitude', 3, 'undeclared'),
    ],
)
def test_invalid_parameter_is_refused_with_a_reason(harness, name, value, word):
    result = harness.set(name, value)
    assert not result.successful
    assert word in result.reason
    assert harness.node._detector.thresholds == Thresholds()
    harness.detect(np.zeros((8, 8, 3), np.uint8))


def malformed(image):
    """Make messages that are no images, one for each reason."""

    def changed(**changes):
        msg = from_array(image, 'rgb8', Header())
        for name, value in changes.items():
            setattr(msg, name, value)
        return msg

    return [
        Image(),
        changed(encoding=''),
        changed(encoding='h264'),
        changed(encoding='bayer_rggb8', width=7),
        changed(height=0),
        changed(width=0),
        changed(height=2**32 - 1, width=2**32 - 1),
        changed(step=0),
        changed(step=1),
        changed(step=2**32 - 1),
        changed(height=image.shape[0] + 1),
        changed(data=array.array('B')),
        changed(data=array.array('B', b'123')),
    ]


def test_invalid_frames_are_counted_as_failed(harness, sample):
    image, found = sample
    messages = malformed(image)
    for number, msg in enumerate(messages, 1):
        harness.publish(msg)
        status = harness.status(lambda msg, least=number: msg.frames_failed >= least)
        assert status.frames_failed == number
        assert status.last_error
        assert status.state == 'running'
    assert not harness.detections
    assert len(harness.detect(image).detections) == len(found)


@pytest.mark.parametrize('sec', [-(2**31), -1, 0, 2**31 - 1])
def test_stamp_of_another_clock_is_never_too_old(start_detector, sec):
    harness = start_detector(max_age_ms=100.0)  # of another clock, so not too old
    stamp = Stamp(sec=sec, nanosec=5)
    msg = harness.detect(np.zeros((8, 8, 3), np.uint8), stamp=stamp)
    assert msg.header.stamp == stamp


def test_stale_frames_are_dropped_and_counted(graph, start_detector):
    harness = start_detector(max_age_ms=10000.0)
    blank = np.zeros((8, 8, 3), np.uint8)
    now = graph.node.get_clock().now().to_msg()
    old = Stamp(sec=now.sec - 60, nanosec=now.nanosec)
    harness.publish(from_array(blank, 'rgb8', Header(stamp=old)))
    status = harness.status(lambda msg: msg.frames_dropped_stale)
    assert (status.frames_received, status.frames_processed) == (1, 0)
    assert not harness.detections
    fresh = graph.node.get_clock().now().to_msg()
    assert harness.detect(blank, stamp=fresh).header.stamp == fresh
    assert harness.set('max_age_ms', 0.0).successful
    assert harness.detect(blank, stamp=old).header.stamp == old


def test_overlay_is_drawn_only_for_subscribers(harness, sample, monkeypatch):
    drawn, draw = [], detector_publishers.draw_detections
    monkeypatch.setattr(
        detector_publishers, 'draw_detections', lambda *given: drawn.append(1) or draw(*given)
    )
    image, _ = sample
    harness.detect(image)
    assert not drawn
    inbox = harness.graph.listen(Image, 'overlay', qos.detections())
    harness.graph.wait(harness.node._outputs.overlay.get_subscription_count)
    msg = harness.detect(image, frame_id='nose', stamp=Stamp(sec=5))
    harness.graph.wait(lambda: inbox)
    assert (inbox[0].encoding, inbox[0].height, inbox[0].width) == ('rgb8', *image.shape[:2])
    assert inbox[0].header == msg.header
    assert bytes(inbox[0].data) != image.tobytes()
    assert len(drawn) == 1


def test_late_subscribers_get_label_info_and_vision_info(harness, bundle):
    harness.detect(np.zeros((8, 8, 3), np.uint8))
    labels = harness.graph.listen(LabelInfo, 'label_info', qos.latched())
    models = harness.graph.listen(VisionInfo, 'vision_info', qos.latched())
    harness.graph.wait(lambda: labels and models)
    names = [entry.class_name for entry in labels[0].class_map]
    assert names == list(bundle.manifest.spec.class_names)
    assert [entry.class_id for entry in labels[0].class_map] == list(range(len(names)))
    assert labels[0].threshold == pytest.approx(0.35)
    assert models[0].database_location == bundle.digest
    assert bundle.name in models[0].method


def test_the_shipped_bundle_runs_in_int8(start_detector, sample):
    harness = start_detector(bundle='')
    info = harness.engine.info
    assert info.precision == 'int8'
    image, expected = sample
    found = from_message(harness.detect(image))
    assert abs(len(found) - len(expected)) <= 3
    assert harness.status(lambda msg: msg.frames_processed).engine == info.name


def test_status_and_diagnostics_count_frames(graph, bundle, start_detector):
    harness = start_detector()
    assert harness.status(lambda msg: msg.state == 'waiting').frames_received == 0
    assert harness.report(lambda status: 'no image yet' in status.message).level == STALE
    for _ in range(3):
        harness.detect(np.zeros((8, 8, 3), np.uint8), stamp=graph.node.get_clock().now().to_msg())
    status = harness.status(lambda msg: msg.frames_processed == 3)
    assert status.frames_received == 3
    assert (status.state, status.engine, status.last_error) == ('running', 'onnxruntime', '')
    assert (status.bundle, status.bundle_version, status.bundle_digest) == (
        bundle.name,
        bundle.version,
        bundle.digest,
    )
    timed = next(msg for msg in harness.statuses if msg.infer_ms > 0)
    assert 0 < timed.latency_p50_ms <= timed.latency_p95_ms
    assert timed.infer_ms <= timed.latency_p95_ms
    assert timed.convert_ms > 0
    assert harness.report(lambda status: 'frames/s' in status.message).level == OK
    assert timed.conditions == []


def test_invalid_frames_are_reported_until_a_valid_one(harness):
    harness.detect(BLANK)
    harness.publish(Image())
    report = harness.report(lambda status: 'invalid frames, 1 so far' in status.message)
    assert report.level == WARN
    assert {entry.key: entry.value for entry in report.values}['failed'] == '1'
    status = harness.status(lambda msg: msg.last_error)
    assert status.conditions[0].startswith('WARN: invalid frames, 1 so far: ')
    harness.publish(Image())
    harness.report(lambda status: 'invalid frames, 2 so far' in status.message)
    harness.detect(BLANK)
    status = harness.status(lambda msg: not msg.conditions and msg.frames_processed == 2)
    assert (status.last_error, status.frames_failed) == ('', 2)
    assert harness.next_report().level == OK


def test_text_from_messages_is_sanitized(harness, capfd):
    forged = 'rgb8\n[FATAL] [0.0] [camera]: \x1b[31m' + 'x' * 10**6
    harness.publish(Image(encoding=forged, height=8, width=8, step=24, data=bytes(192)))
    status = harness.status(lambda msg: msg.last_error)
    report = harness.report(lambda status: 'invalid frames' in status.message)
    values = [entry.value for entry in report.values]
    for text in (status.last_error, *status.conditions, report.message, *values):
        assert text.isprintable()
        assert len(text) < 500
    logged = capfd.readouterr().err
    assert 'invalid frames' in logged
    assert '\n[FATAL]' not in logged
    assert '\x1b' not in logged
