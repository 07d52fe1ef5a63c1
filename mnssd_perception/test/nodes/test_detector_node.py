"""Tests of the detector node on a real graph."""
# ruff: noqa: E402 (what needs ROS is imported where ROS is known to be there)

import array
import math
import signal

import cv2
from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.detector import Detector
from mnssd_perception.engines import open_engine
from mnssd_perception.errors import MnssdError
from mnssd_perception.ssd import Thresholds
import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from builtin_interfaces.msg import Time as Stamp
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from mnssd_msgs.msg import DetectorStatus
from mnssd_perception.nodes import detector_node
from mnssd_perception.nodes.detector_node import DetectorNode
from mnssd_perception.ros import qos
from mnssd_perception.ros.detections import from_message
from mnssd_perception.ros.images import from_array
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo, VisionInfo

pytestmark = pytest.mark.ros

DOMAIN = 63

HOUR = 3600


@pytest.fixture(scope='module')
def bundle():
    return open_bundle(shipped_bundle_path())


@pytest.fixture(scope='module')
def photo(bundle, clip):
    """Pick a photograph with a good and a bad detection: its pixels, and what is found in it."""
    engine = open_engine(bundle)
    detector = Detector(bundle, engine)
    for path in clip:
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        found = detector.detect(image)
        if len(found) and found.scores.min() < 0.55 and found.scores.max() > 0.65:
            engine.close()
            return image, found
    return pytest.fail('no photograph of the clip has such detections')


class Rig:
    """A detector, what it says, and a camera in front of it."""

    def __init__(self, graph, **parameters):
        given = {'warmup': 0, 'threads': 1, 'diagnostics_period': 0.1, **parameters}
        self.graph = graph
        self.detections = graph.listen(Detection2DArray, 'detections', qos.detections())
        self.statuses = graph.listen(DetectorStatus, 'detector/status', qos.detections())
        self.node = graph.start(DetectorNode, **given)
        graph.wait(lambda: graph.node.count_publishers('detections'))
        if given.get('autostart', True):
            self.camera = graph.publisher(Image, 'image', qos.image_out())
            graph.wait(lambda: self.statuses)

    def show(self, msg):
        self.camera.publish(msg)

    def look(self, image, **header):
        """Show an image and wait for what is found in it."""
        num = len(self.detections)
        self.show(from_array(image, 'rgb8', Header(**header)))
        self.graph.wait(lambda: len(self.detections) > num)
        return self.detections[-1]

    def status(self, condition):
        """Wait for a status that meets a condition."""
        return self.graph.wait(
            lambda: next((msg for msg in reversed(self.statuses) if condition(msg)), None)
        )

    def set(self, name, value):
        """Set a parameter as ``ros2 param set`` does."""
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        (result,) = self.graph.call(SetParameters, 'detector/set_parameters', request).results
        return result

    def change(self, transition):
        """Ask for a transition; return whether it went well."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.graph.call(ChangeState, 'detector/change_state', request).success

    def state(self):
        answer = self.graph.call(GetState, 'detector/get_state', GetState.Request())
        return answer.current_state.label


@pytest.fixture
def rig(graph):
    return Rig(graph)


def test_a_blank_image_gives_an_empty_array(rig):
    header = {'stamp': Stamp(sec=12, nanosec=34), 'frame_id': 'nose camera'}
    for shape in ((512, 640, 3), (1, 1, 3)):
        msg = rig.look(np.zeros(shape, np.uint8), **header)
        assert list(msg.detections) == []
        assert msg.header == Header(**header)


def test_finds_what_the_detector_finds_and_copies_the_header(rig, photo):
    image, expected = photo
    header = Header(stamp=Stamp(sec=2**31 - 1, nanosec=999999999), frame_id='camera/日本')
    msg = rig.look(image, stamp=header.stamp, frame_id=header.frame_id)
    assert msg.header == header
    assert all(detection.header == header for detection in msg.detections)
    found = from_message(msg)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.01)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_array_equal(found.labels, expected.labels)


@pytest.mark.parametrize('profile', [qos_profile_sensor_data, 10], ids=['best effort', 'reliable'])
def test_hears_every_publisher(graph, photo, profile):
    rig = Rig(graph)
    camera = graph.publisher(Image, 'image', profile)
    msg = from_array(photo[0], 'rgb8', Header())

    def seen():
        camera.publish(msg)  # best effort may lose one
        return rig.detections

    graph.wait(seen)


def test_a_changed_threshold_takes_effect(rig, photo):
    image, found = photo
    assert len(from_message(rig.look(image))) == len(found)
    assert rig.set('score_threshold', 0.6).successful
    scores = from_message(rig.look(image)).scores
    assert 0 < len(scores) == (found.scores >= 0.6).sum() < len(found)
    assert scores.min() >= 0.6
    assert rig.set('max_detections', 1).successful
    assert len(rig.look(image).detections) == 1


def test_a_class_filter_takes_effect_and_goes_away(rig, photo, bundle):
    image, found = photo
    names = bundle.manifest.spec.class_names
    best = int(found.labels[found.scores.argmax()])
    for label, name in enumerate(names):
        assert rig.set('class_filter', [name]).successful
        labels = from_message(rig.look(image)).labels
        assert set(labels.tolist()) <= {label}
        assert label != best or len(labels)
    for empty in ([''], []):
        assert rig.set('class_filter', [names[0]]).successful
        assert rig.set('class_filter', empty).successful
        assert len(rig.look(image).detections) == len(found)


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
def test_a_bad_parameter_is_refused_with_a_reason(rig, name, value, word):
    result = rig.set(name, value)
    assert not result.successful
    assert word in result.reason
    assert rig.node._detector.thresholds == Thresholds()
    rig.look(np.zeros((8, 8, 3), np.uint8))


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


def test_bad_frames_are_survived_and_counted(rig, photo):
    image, found = photo
    messages = malformed(image)
    for number, msg in enumerate(messages, 1):
        rig.show(msg)
        status = rig.status(lambda msg, least=number: msg.frames_failed >= least)
        assert status.frames_failed == number
        assert status.last_error
        assert status.state == 'running'
    assert not rig.detections
    assert len(rig.look(image).detections) == len(found)


@pytest.mark.parametrize('sec', [-(2**31), -1, 0, 2**31 - 1])
def test_any_stamp_will_do(graph, sec):
    rig = Rig(graph, max_age_ms=100.0)  # of another clock, so not too old
    stamp = Stamp(sec=sec, nanosec=5)
    msg = rig.look(np.zeros((8, 8, 3), np.uint8), stamp=stamp)
    assert msg.header.stamp == stamp


def test_frames_that_are_too_old_are_dropped_and_counted(graph):
    rig = Rig(graph, max_age_ms=10000.0)
    blank = np.zeros((8, 8, 3), np.uint8)
    now = graph.node.get_clock().now().to_msg()
    old = Stamp(sec=now.sec - 60, nanosec=now.nanosec)
    rig.show(from_array(blank, 'rgb8', Header(stamp=old)))
    status = rig.status(lambda msg: msg.frames_dropped_stale)
    assert (status.frames_received, status.frames_processed) == (1, 0)
    assert not rig.detections
    fresh = graph.node.get_clock().now().to_msg()
    assert rig.look(blank, stamp=fresh).header.stamp == fresh
    assert rig.set('max_age_ms', 0.0).successful
    assert rig.look(blank, stamp=old).header.stamp == old


def test_the_overlay_is_drawn_on_demand_only(rig, photo, monkeypatch):
    drawn, draw = [], detector_node.draw_detections
    monkeypatch.setattr(
        detector_node, 'draw_detections', lambda *given: drawn.append(1) or draw(*given)
    )
    image, _ = photo
    rig.look(image)
    assert not drawn
    inbox = rig.graph.listen(Image, 'overlay', qos.detections())
    rig.graph.wait(rig.node._overlay.get_subscription_count)
    msg = rig.look(image, frame_id='nose', stamp=Stamp(sec=5))
    rig.graph.wait(lambda: inbox)
    assert (inbox[0].encoding, inbox[0].height, inbox[0].width) == ('rgb8', *image.shape[:2])
    assert inbox[0].header == msg.header
    assert bytes(inbox[0].data) != image.tobytes()
    assert len(drawn) == 1


def test_those_who_come_late_learn_what_detections_mean(rig, bundle):
    rig.look(np.zeros((8, 8, 3), np.uint8))
    labels = rig.graph.listen(LabelInfo, 'label_info', qos.latched())
    models = rig.graph.listen(VisionInfo, 'vision_info', qos.latched())
    rig.graph.wait(lambda: labels and models)
    names = [entry.class_name for entry in labels[0].class_map]
    assert names == list(bundle.manifest.spec.class_names)
    assert [entry.class_id for entry in labels[0].class_map] == list(range(len(names)))
    assert labels[0].threshold == pytest.approx(0.35)
    assert models[0].database_location == bundle.digest
    assert bundle.name in models[0].method


def test_status_and_diagnostics(graph, bundle):
    reports = graph.listen(DiagnosticArray, '/diagnostics')

    def report(word):
        name = f'{graph.namespace[1:]}/detector: status'
        found = [s for msg in reports for s in msg.status if s.name == name and word in s.message]
        return found[-1] if found else None

    rig = Rig(graph)
    assert rig.status(lambda msg: msg.state == 'waiting').frames_received == 0
    assert graph.wait(lambda: report('no image yet')).level == b'\x03'
    for _ in range(3):
        rig.look(np.zeros((8, 8, 3), np.uint8), stamp=graph.node.get_clock().now().to_msg())
    status = rig.status(lambda msg: msg.frames_processed == 3)
    assert status.frames_received == 3
    assert (status.state, status.engine, status.last_error) == ('running', 'onnxruntime', '')
    assert (status.bundle, status.bundle_version, status.bundle_digest) == (
        bundle.name,
        bundle.version,
        bundle.digest,
    )
    timed = next(msg for msg in rig.statuses if msg.infer_ms > 0)
    assert 0 < timed.latency_p50_ms <= timed.latency_p95_ms
    assert timed.infer_ms <= timed.latency_p95_ms
    assert graph.wait(lambda: report('frames/s')).level == b'\x00'
    rig.show(Image())
    bad = graph.wait(lambda: report('1 bad frames'))
    assert bad.level == b'\x01'
    assert {entry.key: entry.value for entry in bad.values}['failed'] == '1'


def test_an_incompatible_publisher_is_reported(graph):
    reports = graph.listen(DiagnosticArray, '/diagnostics')
    topic = f'{graph.namespace}/image'
    name = f'qos_overrides.{topic}.subscription.reliability'
    graph.start(DetectorNode, warmup=0, diagnostics_period=0.1, **{name: 'reliable'})
    graph.node.create_publisher(Image, 'image', qos_profile_sensor_data)
    graph.wait(
        lambda: [
            status
            for msg in reports
            for status in msg.status
            if 'reliability' in status.message and graph.namespace[1:] in status.name
        ]
    )


def test_lifecycle(graph, photo):
    image, _ = photo
    rig = Rig(graph)
    rig.look(image)
    assert rig.state() == 'active'
    assert rig.change(Transition.TRANSITION_DEACTIVATE)
    assert rig.state() == 'inactive'
    graph.wait(lambda: not graph.node.count_subscribers('image'))
    num = len(rig.detections)
    rig.node.offer(from_array(image, 'rgb8', Header()))  # is ignored
    assert rig.set('score_threshold', 0.6).successful
    assert rig.change(Transition.TRANSITION_CLEANUP)
    assert rig.state() == 'unconfigured'
    graph.wait(lambda: not graph.node.count_publishers('detections'))
    assert rig.change(Transition.TRANSITION_CONFIGURE)
    assert rig.change(Transition.TRANSITION_ACTIVATE)
    assert len(rig.detections) == num
    graph.wait(rig.camera.get_subscription_count)
    graph.wait(lambda: graph.node.count_publishers('detections'))
    found = graph.wait(
        lambda: rig.show(from_array(image, 'rgb8', Header())) or rig.detections[num:]
    )
    assert from_message(found[0]).scores.min() >= 0.6
    assert rig.change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert rig.state() == 'finalized'
    assert not graph.done.done()


def test_starts_when_it_is_told_to(graph):
    rig_node = graph.start(DetectorNode, warmup=0, autostart=False)
    assert rig_node._detector is None
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    assert graph.call(ChangeState, 'detector/change_state', request).success


def test_a_bundle_that_is_missing_fails_configuring_without_autostart(graph):
    graph.start(DetectorNode, autostart=False, bundle='/nowhere.mnssd')
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    assert not graph.call(ChangeState, 'detector/change_state', request).success
    answer = graph.call(GetState, 'detector/get_state', GetState.Request())
    assert answer.current_state.label == 'unconfigured'


@pytest.mark.parametrize(
    'given',
    [
        {'bundle': '/nowhere.mnssd'},
        {'engine': 'abacus'},
        {'class_filter': ['Zeppelin']},
        {'score_threshold': 0.0},
    ],
    ids=str,
)
def test_what_cannot_start_says_so(graph, given):
    with pytest.raises(MnssdError):
        graph.start(DetectorNode, warmup=0, **given)


def test_an_unexpected_failure_is_reported_and_ends_the_process(graph, monkeypatch):
    reports = graph.listen(DiagnosticArray, '/diagnostics')
    rig = Rig(graph)
    graph.wait(lambda: reports)
    monkeypatch.setattr(detector_node, 'to_message', lambda *_: 1 / 0)
    rig.show(from_array(np.zeros((8, 8, 3), np.uint8), 'rgb8', Header()))
    graph.wait(graph.done.done)
    with pytest.raises(MnssdError, match='ZeroDivisionError'):
        graph.done.result()
    status = rig.status(lambda msg: msg.state == 'failed')
    assert 'ZeroDivisionError' in status.last_error
    graph.wait(lambda: any(s.level == b'\x02' for msg in reports for s in msg.status))


def test_a_failure_after_shutdown_is_none():
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=DOMAIN)
    done = rclpy.task.Future(executor=rclpy.executors.SingleThreadedExecutor(context=context))
    node = DetectorNode(done, subscribe=False, context=context)
    rclpy.shutdown(context=context)
    node.offer(from_array(np.zeros((8, 8, 3), np.uint8), 'rgb8', Header()))
    node._worker._thread.join(0.5)  # lives on, or has stumbled over the invalid context
    assert not done.done()
    node.destroy_node()


def test_the_process_says_that_the_bundle_is_missing(process):
    child = process('detector_node', '-p', 'bundle:=/nowhere.mnssd')
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 1, output
    assert '/nowhere.mnssd' in output
    assert 'Traceback' not in output


def test_the_process_ends_cleanly_when_interrupted(process):
    child = process('detector_node', '-p', f'bundle:={shipped_bundle_path()}')
    for line in child.stdout:
        if 'looking at images' in line:
            break
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0, output
    assert 'Traceback' not in output
