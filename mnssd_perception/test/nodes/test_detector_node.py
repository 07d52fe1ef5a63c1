"""Tests of the detector node on a real graph."""
# ruff: noqa: E402 (what needs ROS is imported where ROS is known to be there)

import array
from functools import partial
import math
import random
import signal
from threading import Event, RLock

import cv2
from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.detector import Detector
from mnssd_perception.engines import open_engine
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
from mnssd_perception.errors import HungError, MnssdError, SettingsError
from mnssd_perception.ssd import Thresholds
import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from builtin_interfaces.msg import Time as Stamp
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from mnssd_msgs.msg import DetectorStatus
from mnssd_perception.nodes import detector_node, detector_worker
from mnssd_perception.nodes.detector_node import DetectorNode
from mnssd_perception.ros import qos, transport
from mnssd_perception.ros.detections import from_message
from mnssd_perception.ros.diagnostics import ERROR, OK, STALE, WARN
from mnssd_perception.ros.images import from_array
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo, VisionInfo

pytestmark = pytest.mark.ros

DOMAIN = 63

# Longer than a busy machine takes [s].
PATIENCE = 100

NUM_REQUESTS = 40

BLANK = np.zeros((8, 8, 3), np.uint8)

# Of an engine that is not spoilt.
RUN = OnnxRuntimeEngine._run


@pytest.fixture(scope='module')
def bundle():
    return open_bundle(shipped_bundle_path())


@pytest.fixture(scope='module')
def photo(bundle, clip):
    """Pick an image with a good and a bad detection: its pixels, and what is found in it."""
    engine = open_engine(bundle)
    detector = Detector(engine, bundle.manifest.thresholds)
    for path in clip:
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        found = detector.detect(image)
        if len(found) and found.scores.min() < 0.55 and found.scores.max() > 0.65:
            engine.close()
            return image, found
    return pytest.fail('no image of the clip has such detections')


class Rig:
    """A detector, what it says, and a camera in front of it."""

    def __init__(self, graph, **parameters):
        given = {'warmup': 0, 'threads': 1, 'diagnostics_period': 0.1, **parameters}
        self.graph = graph
        self.detections = graph.listen(Detection2DArray, 'detections', qos.detections())
        self.statuses = graph.listen(DetectorStatus, 'detector/status', qos.detections())
        self.reports = graph.listen(DiagnosticArray, '/diagnostics')
        self.node = graph.start(DetectorNode, **given)
        graph.wait(lambda: graph.node.count_publishers('detector/status'))
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

    def report(self, condition):
        """Wait for a report of this detector that meets a condition."""
        name = f'{self.graph.namespace[1:]}/detector: status'
        return self.graph.wait(
            lambda: next(
                (
                    status
                    for msg in reversed(self.reports)
                    for status in msg.status
                    if status.name == name and condition(status)
                ),
                None,
            )
        )

    def report_of_now(self):
        """Return a report that is made after this call."""
        num = len(self.reports)
        self.graph.wait(lambda: len(self.reports) > num + 1)
        return self.report(lambda status: True)

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
    rig = Rig(graph)
    assert rig.status(lambda msg: msg.state == 'waiting').frames_received == 0
    assert rig.report(lambda status: 'no image yet' in status.message).level == STALE
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
    assert timed.convert_ms > 0
    assert rig.report(lambda status: 'frames/s' in status.message).level == OK
    assert timed.conditions == []


def test_bad_frames_are_reported_until_a_good_one_comes(rig):
    rig.look(BLANK)
    rig.show(Image())
    report = rig.report(lambda status: 'bad frames, 1 so far' in status.message)
    assert report.level == WARN
    assert {entry.key: entry.value for entry in report.values}['failed'] == '1'
    status = rig.status(lambda msg: msg.last_error)
    assert status.conditions[0].startswith('WARN: bad frames, 1 so far: ')
    rig.show(Image())
    rig.report(lambda status: 'bad frames, 2 so far' in status.message)
    rig.look(BLANK)
    status = rig.status(lambda msg: not msg.conditions and msg.frames_processed == 2)
    assert (status.last_error, status.frames_failed) == ('', 2)
    assert rig.report_of_now().level == OK


def test_text_from_cameras_is_made_safe(rig, capfd):
    forged = 'rgb8\n[FATAL] [0.0] [camera]: \x1b[31m' + 'x' * 10**6
    rig.show(Image(encoding=forged, height=8, width=8, step=24, data=bytes(192)))
    status = rig.status(lambda msg: msg.last_error)
    report = rig.report(lambda status: 'bad frames' in status.message)
    values = [entry.value for entry in report.values]
    for text in (status.last_error, *status.conditions, report.message, *values):
        assert text.isprintable()
        assert len(text) < 500
    logged = capfd.readouterr().err
    assert 'bad frames' in logged
    assert '\n[FATAL]' not in logged
    assert '\x1b' not in logged


# Who publishes what.


def test_a_publisher_that_is_not_heard_is_reported_until_it_goes(graph):
    name = f'qos_overrides.{graph.namespace}/image.subscription.reliability'
    rig = Rig(graph, **{name: 'reliable'})
    camera = graph.node.create_publisher(Image, 'image', qos_profile_sensor_data)
    report = rig.report(lambda status: 'best_effort' in status.message)
    assert report.level in (WARN, STALE)
    rig.look(BLANK)
    rig.show(Image())
    # Does not hide other faults.
    report = rig.report(lambda status: 'bad frames, 1 so far' in status.message)
    assert 'best_effort' in report.message
    graph.node.destroy_publisher(camera)
    rig.look(BLANK)
    rig.report(lambda status: status.level == OK)
    assert 'best_effort' not in rig.report_of_now().message


@pytest.mark.parametrize(
    ('topic', 'kind', 'part'),
    [
        ('image', Image, 'expected one publisher on'),
        ('detections', Detection2DArray, 'expected one publisher on'),
    ],
)
def test_another_publisher_is_reported_until_it_goes(rig, topic, kind, part):
    publisher = rig.graph.node.create_publisher(kind, topic, 10)
    report = rig.report(lambda status: part in status.message)
    assert f'{part} {rig.graph.namespace}/{topic}' in report.message
    assert f'{rig.graph.namespace}/tester' in report.message
    rig.graph.node.destroy_publisher(publisher)
    rig.report(lambda status: part not in status.message)
    assert part not in rig.report_of_now().message


def test_compressed_images_are_reported(rig):
    # In another process or context, as DDS allows only one type for a topic in each.
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=DOMAIN)
    node = rclpy.create_node('camera', namespace=rig.graph.namespace, context=context)
    node.create_publisher(CompressedImage, 'image', 10)
    # Its name is discovered last.
    report = rig.report(lambda status: f'{rig.graph.namespace}/camera' in status.message)
    assert 'got sensor_msgs/msg/CompressedImage' in report.message
    assert 'republish' in report.message
    node.destroy_node()
    rclpy.shutdown(context=context)
    rig.report(lambda status: 'CompressedImage' not in status.message)


def test_lost_images_are_reported(rig):
    """A camera of 10 Hz of which four images arrive and the next six do not."""
    for index in (number for number in range(80) if number % 10 < 4):
        rig.look(BLANK, stamp=Stamp(sec=1 + index // 10, nanosec=index % 10 * 10**8))
    status = rig.status(lambda msg: msg.conditions)
    assert len(status.conditions) == 1
    assert 'do not arrive' in status.conditions[0]


def test_an_overlay_without_shared_memory_is_reported_where_images_come_in_memory(
    graph, monkeypatch
):
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
    graph.wait(node._overlay.get_subscription_count)
    (condition,) = conditions_after(2)
    assert 'no shared memory' in condition
    graph.node.destroy_subscription(listener)
    graph.wait(lambda: not node._overlay.get_subscription_count())
    assert conditions_after(3) == []


def test_an_override_without_effect_is_reported_by_name(graph):
    name = f'qos_overrides.{graph.namespace}/imagee.subscription.reliability'
    rig = Rig(graph, **{name: 'reliable', name.replace('imagee', 'image'): 'reliable'})
    report = rig.report(lambda status: 'has no effect' in status.message)
    assert f"'{name}' has no effect; did you mean" in report.message
    assert report.message.count('no effect') == 1


def test_an_override_of_the_camera_is_left_alone(graph):
    # One section of a parameter file, or one process, may hold both nodes.
    rig = Rig(graph, **{f'qos_overrides.{graph.namespace}/image.publisher.depth': 3})
    rig.look(BLANK)
    assert rig.report_of_now().level == OK


def test_a_subscriber_that_hears_nothing_is_reported(rig):
    rig.graph.node.create_subscription(
        Detection2DArray, 'detections', lambda _: None, qos.latched()
    )
    rig.report(lambda status: 'transient_local' in status.message)


# Engines that fail.


@pytest.mark.parametrize(
    'spoil',
    [
        lambda heads: [head * np.nan for head in heads],
        lambda heads: [head - np.inf for head in heads],
        lambda heads: 1 / 0,
        lambda heads: bytearray(2**62),
    ],
    ids=['NaN', '-inf', 'exception', 'memory'],
)
def test_an_engine_that_fails_is_an_error_until_a_frame_goes_well(rig, monkeypatch, spoil):
    rig.look(BLANK)
    with monkeypatch.context() as patch:
        patch.setattr(rig.node._engine, '_run', lambda image: spoil(RUN(rig.node._engine, image)))
        for number in (1, 2):
            rig.show(from_array(BLANK, 'rgb8', Header()))
            status = rig.status(lambda msg, least=number: msg.frames_failed >= least)
        assert rig.report(lambda status: status.level == ERROR)
        assert status.conditions[0].startswith(
            'ERROR: frames that the engine fails on, 2 so far: '
        )
        assert status.last_error
        assert (status.state, status.frames_processed) == ('running', 1)
    rig.look(BLANK)
    rig.status(lambda msg: msg.frames_processed == 2 and not msg.conditions)
    assert rig.report_of_now().level == OK


def test_too_little_memory_for_an_image_is_a_failed_frame(rig, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(detector_worker, 'to_rgb', lambda msg: bytearray(2**62))
        rig.show(from_array(BLANK, 'rgb8', Header()))
        assert 'memory' in rig.status(lambda msg: msg.frames_failed).last_error
    rig.look(BLANK)


def test_too_little_memory_for_the_detections_is_a_failed_frame(rig, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(detector_node, 'to_message', lambda *_: bytearray(2**62))
        rig.show(from_array(BLANK, 'rgb8', Header()))
        status = rig.status(lambda msg: msg.frames_failed)
        assert 'not enough memory for the frame' in status.last_error
        assert status.frames_processed == 0
    rig.look(BLANK)


@pytest.mark.parametrize(
    'draw',
    [lambda *_: bytearray(2**62), lambda *_: cv2.cvtColor(BLANK, -1)],
    ids=['memory', 'OpenCV'],
)
def test_an_overlay_that_fails_costs_no_detections(rig, monkeypatch, draw):
    overlays = rig.graph.listen(Image, 'overlay', qos.detections())
    rig.graph.wait(rig.node._overlay.get_subscription_count)
    with monkeypatch.context() as patch:
        patch.setattr(detector_node, 'draw_detections', draw)
        for _ in range(2):
            rig.look(BLANK)
        report = rig.report(lambda status: 'without an overlay, 2 so far' in status.message)
        assert report.level == WARN
    status = rig.status(lambda msg: msg.conditions)
    assert (status.state, status.frames_processed, status.frames_failed) == ('running', 2, 0)
    assert not overlays
    rig.look(BLANK)
    rig.graph.wait(lambda: overlays)
    rig.status(lambda msg: msg.frames_processed == 3 and not msg.conditions)
    assert rig.report_of_now().level == OK


@pytest.fixture
def hang(monkeypatch):
    """Make the engine of a rig hang in the next frame; the result lets it go on."""
    entered, released = Event(), Event()

    def hang(rig):
        engine = rig.node._engine

        def run(image):
            entered.set()
            released.wait()
            return RUN(engine, image)

        monkeypatch.setattr(engine, '_run', run)
        rig.show(from_array(BLANK, 'rgb8', Header()))
        rig.graph.wait(entered.is_set)
        return released

    yield hang
    released.set()


def test_an_engine_that_hangs_is_an_error_until_it_returns(rig, hang):
    rig.look(BLANK)
    assert rig.set('engine_timeout', 0.2).successful
    released = hang(rig)
    status = rig.status(lambda msg: msg.state == 'hung')
    assert status.conditions[0].startswith('ERROR: the engine hangs: one frame takes ')
    assert rig.report(lambda status: 'one frame takes' in status.message).level == ERROR
    released.set()
    rig.graph.wait(lambda: len(rig.detections) == 2)
    rig.status(lambda msg: msg.frames_processed == 2 and msg.state == 'running')
    assert rig.report_of_now().level == OK


def test_a_hang_is_reported_before_the_next_period(graph, hang):
    rig = Rig(graph, diagnostics_period=0.1)
    rig.node._diagnostics._timer.cancel()
    assert rig.set('engine_timeout', 0.2).successful
    hang(rig)
    rig.status(lambda msg: msg.state == 'hung')


def test_a_node_whose_engine_hangs_cannot_be_deactivated(rig, hang, monkeypatch):
    monkeypatch.setattr(detector_node, 'LONGEST_FRAME', 1.0)
    released = hang(rig)
    assert not rig.change(Transition.TRANSITION_DEACTIVATE)
    assert rig.state() == 'finalized'
    status = rig.status(lambda msg: any('engine hangs' in line for line in msg.conditions))
    assert status.state == 'hung'
    assert not rig.change(Transition.TRANSITION_CONFIGURE)
    with pytest.raises(HungError):
        rig.node.destroy_node()
    # What it finds too late is not published by a node that was destroyed.
    released.set()
    rig.node._worker._thread.join()
    assert rig.node._worker.failure is None
    assert not rig.detections


def test_the_node_is_destroyed_while_the_lock_of_the_context_is_held(context, monkeypatch):
    """On Kilted and later, ``rclpy.shutdown()`` destroys the nodes under this lock."""
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    node = DetectorNode(rclpy.task.Future(executor=executor), subscribe=False, context=context)
    entered, engine = Event(), node._engine
    monkeypatch.setattr(engine, '_run', lambda image: entered.set() or RUN(engine, image))
    monkeypatch.setattr(context, '_lock', RLock())
    with context._lock:
        node.submit(from_array(BLANK, 'rgb8', Header()))
        entered.wait()
        node.destroy_node()
    executor.shutdown(timeout_sec=1.0)
    assert node._worker is None


def test_lifecycle(graph, photo):
    image, _ = photo
    rig = Rig(graph)
    rig.look(image)
    assert rig.state() == 'active'
    assert rig.change(Transition.TRANSITION_DEACTIVATE)
    assert rig.state() == 'inactive'
    graph.wait(lambda: not graph.node.count_subscribers('image'))
    num = len(rig.detections)
    rig.node.submit(from_array(image, 'rgb8', Header()))  # is ignored
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


@pytest.mark.parametrize('transition', [0, 1, 2, 3, 5, 6, 99])
def test_a_request_that_is_not_valid_now_changes_nothing(rig, transition):
    assert not rig.change(transition)
    assert rig.state() == 'active'
    rig.look(BLANK)


def test_every_request_is_answered_under_load(graph, process):
    """A manager that asks for anything, while images come in and detections go out."""
    ways = {
        'unconfigured': {1: 'inactive', 5: 'finalized'},
        'inactive': {2: 'unconfigured', 3: 'active', 6: 'finalized'},
        'active': {4: 'inactive', 7: 'finalized'},
    }
    child = process('detector_node', '-r', f'__ns:={graph.namespace}', '-p', 'warmup:=0')
    camera = graph.publisher(Image, 'image', qos.image_out())
    image = from_array(np.zeros((512, 640, 3), np.uint8), 'rgb8', Header())
    graph.node.create_timer(1 / 30, lambda: camera.publish(image))
    detections = graph.listen(Detection2DArray, 'detections', qos.detections())
    graph.wait(lambda: detections)
    change = partial(graph.call, ChangeState, 'detector/change_state')
    state, generator = 'active', random.Random(7)
    for _ in range(NUM_REQUESTS):
        # Valid requests are rare among all, and one to shut down is the last.
        transition = generator.choice([*range(11), 99, *ways[state], *ways[state]])
        if ways[state].get(transition) == 'finalized':
            continue
        answer = change(ChangeState.Request(transition=Transition(id=transition)))
        assert answer.success == (transition in ways[state]), (state, transition)
        state = ways[state].get(transition, state)
        found = graph.call(GetState, 'detector/get_state', GetState.Request()).current_state
        assert found.label == state
        assert child.poll() is None
    child.send_signal(signal.SIGTERM)
    output, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0, output
    assert 'Traceback' not in output


def test_a_bad_override_fails_activating_by_name(graph):
    name = f'qos_overrides.{graph.namespace}/image.subscription.reliability'
    rig = Rig(graph, autostart=False, **{name: 'foo'})
    assert rig.change(Transition.TRANSITION_CONFIGURE)
    for _ in range(2):
        assert not rig.change(Transition.TRANSITION_ACTIVATE)
        assert rig.state() == 'inactive'
        assert rig.node._worker is None
        report = rig.report(lambda status: name in status.message)
        assert report.level == ERROR
        status = rig.status(lambda msg: any(name in line for line in msg.conditions))
        assert status.state == 'inactive'
    assert rig.change(Transition.TRANSITION_CLEANUP)
    rig.report(lambda status: name not in status.message)
    with pytest.raises(SettingsError, match=name):
        graph.start(DetectorNode, warmup=0, **{name: 'foo'})


def test_an_unexpected_error_in_a_transition_is_reported_and_undone(graph, monkeypatch):
    rig = Rig(graph, autostart=False)
    assert rig.change(Transition.TRANSITION_CONFIGURE)
    with monkeypatch.context() as patch:
        patch.setattr(detector_node, 'label_info', lambda *_: 1 / 0)
        assert not rig.change(Transition.TRANSITION_ACTIVATE)
    assert rig.state() == 'inactive'
    assert rig.report(lambda status: 'ZeroDivisionError' in status.message).level == ERROR
    assert rig.change(Transition.TRANSITION_ACTIVATE)
    rig.report(lambda status: 'ZeroDivisionError' not in status.message)


def test_starts_when_it_is_told_to(graph):
    rig_node = graph.start(DetectorNode, warmup=0, autostart=False)
    assert rig_node._detector is None
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    assert graph.call(ChangeState, 'detector/change_state', request).success


def test_a_bundle_that_is_missing_fails_configuring_without_autostart(graph):
    rig = Rig(graph, autostart=False, bundle='/nowhere.mnssd')
    assert not rig.change(Transition.TRANSITION_CONFIGURE)
    assert rig.state() == 'unconfigured'
    assert rig.report(lambda status: '/nowhere.mnssd' in status.message).level == ERROR
    status = rig.status(lambda msg: '/nowhere.mnssd' in msg.conditions[0])
    assert (status.state, status.bundle) == ('inactive', '')


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


def test_an_unexpected_failure_is_reported_and_ends_the_process(rig, monkeypatch):
    monkeypatch.setattr(detector_node, 'to_message', lambda *_: 1 / 0)
    rig.show(from_array(BLANK, 'rgb8', Header()))
    rig.graph.wait(rig.graph.done.done)
    with pytest.raises(ZeroDivisionError):
        rig.graph.done.result()
    status = rig.status(lambda msg: msg.state == 'failed')
    assert 'ZeroDivisionError' in status.last_error
    assert rig.report(lambda status: 'ZeroDivisionError' in status.message).level == ERROR


def test_a_worker_that_fails_after_shutdown_fails_nothing(bundle, monkeypatch):
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=DOMAIN)
    done = rclpy.task.Future(executor=rclpy.executors.SingleThreadedExecutor(context=context))
    node = DetectorNode(done, subscribe=False, context=context)
    rclpy.shutdown(context=context)
    worker = node._worker
    monkeypatch.setattr(node._detections, 'publish', lambda _: 1 / 0)  # as an invalid context does
    node.submit(from_array(BLANK, 'rgb8', Header()))
    worker._thread.join()
    assert isinstance(worker.failure, ZeroDivisionError)
    assert not done.done()
    node.destroy_node()


def test_the_process_says_that_the_bundle_is_missing(process):
    child = process('detector_node', '-p', 'bundle:=/nowhere.mnssd')
    output, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == 1, output
    assert '/nowhere.mnssd' in output
    assert 'Traceback' not in output


def test_the_process_ends_cleanly_when_interrupted(process):
    child = process('detector_node', '-p', f'bundle:={shipped_bundle_path()}')
    for line in child.stdout:
        if 'looking at images' in line:
            break
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0, output
    assert 'Traceback' not in output


def test_the_process_names_a_bad_override_and_ends(process):
    name = 'qos_overrides./image.subscription.reliability'
    child = process('detector_node', '-p', f'{name}:=foo')
    output, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == 1, output
    assert f'{name}:=foo' in output
    assert 'Traceback' not in output


HANGING = """
import sys, threading
from mnssd_perception.engines import ENGINES
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
from mnssd_perception.nodes import drone_node

class HangingEngine(OnnxRuntimeEngine):
    def _run(self, image):
        if threading.current_thread().name == {thread!r}:
            print('hanging now', flush=True)
            threading.Semaphore(0).acquire()
        return super()._run(image)

ENGINES['onnxruntime'] = HangingEngine
sys.exit(drone_node.main())
"""


@pytest.mark.parametrize(
    ('thread', 'place'),
    [('MainThread', 'configure ('), ('detector', 'detector: ')],
    ids=['warm-up', 'frame'],
)
def test_a_process_whose_engine_hangs_is_ended_by_a_signal(process, thread, place):
    child = process('', script=HANGING.format(thread=thread))
    for line in child.stdout:
        if 'hanging now' in line:
            break
    child.send_signal(signal.SIGTERM)
    output, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == 1, output
    assert place in output
