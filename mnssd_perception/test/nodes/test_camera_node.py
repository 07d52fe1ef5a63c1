"""Tests of the camera node on a real graph."""
# ruff: noqa: E402 (ROS is imported only where it is installed)

import signal
from threading import Event

import cv2
from mnssd_perception.errors import MnssdError, SettingsError, SourceError
import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray
from mnssd_msgs.msg import DetectorStatus
from mnssd_perception.nodes import camera_node, lockstep
from mnssd_perception.nodes.camera_node import CameraNode
from mnssd_perception.ros import qos
from mnssd_perception.ros.diagnostics import ERROR, OK, WARN
from mnssd_perception.ros.images import to_bgr, to_rgb
from mnssd_perception.ros.spin import CANNOT_START
from mnssd_perception.ros.transport import SharedMemory
from mnssd_perception.sources import Frame, FrameSource
from rclpy.time import Time
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

pytestmark = pytest.mark.ros

DOMAIN = 62

CAMERA = ('-m', 'mnssd_perception.nodes.camera_node', '--ros-args')
NUM_FRAMES = 6


@pytest.fixture
def folder(tmp_path):
    """Write frames whose brightness encodes their number."""
    made = tmp_path / 'frames'
    made.mkdir()
    for number in range(NUM_FRAMES):
        image = np.full((24, 32, 3), (20 * number, 10, 200), np.uint8)
        cv2.imwrite(str(made / f'{number}.png'), image)
    return str(made)


def listen(graph):
    return graph.listen(Image, 'image', qos.detections())


def listen_to_diagnostics(graph):
    """Collect the diagnostics of the camera of this test."""
    inbox = graph.listen(DiagnosticArray, '/diagnostics')
    name = f'{graph.namespace[1:]}/camera: status'
    return lambda: [status for msg in list(inbox) for status in msg.status if status.name == name]


class GatedSource(FrameSource):
    """A camera whose read hangs until the test lets a frame through."""

    def __init__(self, num_frames=1):
        super().__init__('gated', rate=None, loop=False, report=lambda message: None)
        self.gate, self.is_read = Event(), Event()
        self._num_frames = num_frames

    def _play(self):
        for number in range(self._num_frames):
            self.is_read.set()
            self.gate.wait()
            yield Frame(np.zeros((4, 4, 3), np.uint8), str(number))


@pytest.mark.parametrize('source', ['', '/nowhere', 'synthetic:width=1'])
def test_source_that_cannot_be_opened_raises(graph, source):
    with pytest.raises(SourceError):
        graph.start(CameraNode, source=source)


def test_invalid_qos_override_is_refused_by_name(graph):
    name = f'qos_overrides.{graph.namespace}/image.publisher.reliability'
    with pytest.raises(SettingsError, match=f'{name}:=foo'):
        graph.start(CameraNode, **{name: 'foo'})


def test_plays_all_frames_and_ends(graph, folder):
    inbox, started = listen(graph), graph.node.get_clock().now()
    graph.start(CameraNode, source=folder, rate=50.0, frame_id='nose', wait_for_subscribers=1)
    graph.wait(lambda: len(inbox) == NUM_FRAMES)
    graph.wait(graph.done.done)
    assert graph.done.result() is None
    for number, msg in enumerate(inbox):
        assert (msg.header.frame_id, msg.encoding) == ('nose', 'bgr8')
        np.testing.assert_array_equal(to_bgr(msg)[0, 0], (20 * number, 10, 200))
    stamps = [Time.from_msg(msg.header.stamp).nanoseconds for msg in inbox]
    assert stamps == sorted(set(stamps))
    assert started.nanoseconds <= stamps[0]
    assert stamps[-1] <= graph.node.get_clock().now().nanoseconds


@pytest.mark.parametrize('encoding', ['bgr8', 'rgb8', 'mono8'])
def test_images_have_the_requested_encoding(graph, folder, encoding):
    inbox = listen(graph)
    graph.start(CameraNode, source=folder, rate=100.0, encoding=encoding, wait_for_subscribers=1)
    graph.wait(lambda: inbox)
    assert inbox[0].encoding == encoding
    expected = {'mono8': (61, 61, 61)}.get(encoding, (200, 10, 0))
    np.testing.assert_allclose(to_rgb(inbox[0])[0, 0], expected, atol=5)


def test_grey_image_is_published_as_mono8(graph, tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((4, 6), 9, np.uint8))
    inbox = listen(graph)
    graph.start(CameraNode, source=str(tmp_path / 'a.png'), wait_for_subscribers=1)
    graph.wait(lambda: inbox)
    assert (inbox[0].encoding, inbox[0].step) == ('mono8', 6)


def test_loop_plays_again_without_ending(graph, folder):
    inbox = listen(graph)
    graph.start(CameraNode, source=folder, rate=200.0, loop=True, wait_for_subscribers=1)
    graph.wait(lambda: len(inbox) > 2 * NUM_FRAMES)
    assert not graph.done.done()


def test_without_exit_at_end_the_node_stays(graph, folder):
    frames = []
    node = graph.start(
        CameraNode, sink=frames.append, source=folder, rate=200.0, exit_at_end=False
    )
    graph.wait(lambda: not node._thread.is_alive())
    assert len(frames) == NUM_FRAMES
    assert not graph.done.done()


def test_first_frame_waits_for_subscribers(graph, folder):
    frames = []
    node = graph.start(
        CameraNode, sink=frames.append, source=folder, rate=200.0, wait_for_subscribers=1
    )
    graph.wait(lambda: node.count_publishers(f'{graph.namespace}/image'))
    assert not frames
    listen(graph)
    graph.wait(lambda: len(frames) == NUM_FRAMES)


def test_source_failure_ends_the_process_with_its_error(graph, tmp_path):
    (tmp_path / 'a.png').write_bytes(b'garbage')
    graph.start(CameraNode, source=str(tmp_path))
    graph.wait(graph.done.done)
    with pytest.raises(MnssdError, match='no readable frame'):
        graph.done.result()


def test_failure_after_shutdown_is_ignored(folder):
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=DOMAIN)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    done = rclpy.task.Future(executor=executor)
    node = CameraNode(done, context=context)
    rclpy.shutdown(context=context)
    node._thread.join(20)  # stumbles over the invalid context
    assert not node._thread.is_alive()
    assert not done.done()
    node.destroy_node()


def test_node_can_be_destroyed_while_playing(graph):
    frames = []
    node = graph.start(CameraNode, sink=frames.append)
    graph.wait(lambda: frames)
    node.destroy_node()
    node._thread.join(20)
    assert not node._thread.is_alive()
    assert not graph.done.done()


def test_missing_camera_is_an_error_in_the_diagnostics(graph):
    statuses = listen_to_diagnostics(graph)
    graph.start(CameraNode, source='/dev/video987')
    graph.wait(statuses)
    graph.wait(lambda: statuses()[-1].level == ERROR)
    assert "no camera '/dev/video987'" in statuses()[-1].message
    values = {entry.key: entry.value for entry in statuses()[-1].values}
    assert (values['source'], values['frames']) == ('/dev/video987', '0')
    graph.wait(lambda: {e.key: e.value for e in statuses()[-1].values}['retries'] != '0')
    assert not graph.done.done()


def test_playing_camera_is_ok_in_the_diagnostics(graph):
    statuses = listen_to_diagnostics(graph)
    graph.start(CameraNode, source='synthetic:width=64,height=48')
    graph.wait(lambda: statuses() and statuses()[-1].message != '0.0 frames/s')
    assert (statuses()[-1].level, statuses()[-1].message[-8:]) == (OK, 'frames/s')


def test_missing_shared_memory_is_reported_while_there_is_a_subscriber(graph, monkeypatch):
    monkeypatch.setattr(camera_node, 'read_shared_memory', lambda _: SharedMemory(0, 0))
    statuses = listen_to_diagnostics(graph)
    subscription = graph.node.create_subscription(Image, 'image', lambda _: None, qos.detections())
    graph.start(CameraNode, source='synthetic:width=320,height=240')
    graph.wait(lambda: statuses() and statuses()[-1].level == WARN)
    assert 'shared memory' in statuses()[-1].message
    graph.node.destroy_subscription(subscription)
    graph.wait(lambda: statuses()[-1].level == OK)


def test_node_can_be_destroyed_while_a_read_hangs(graph, monkeypatch):
    source = GatedSource()
    monkeypatch.setattr(camera_node, 'open_source', lambda *_, **__: source)
    monkeypatch.setattr(camera_node, 'CLOSE_TIMEOUT', 0.01)
    frames = []
    node = graph.start(CameraNode, sink=frames.append)
    assert source.is_read.wait(20)
    node.destroy_node()
    assert node._thread.is_alive()
    source.gate.set()
    node._thread.join(20)
    assert not node._thread.is_alive()
    assert frames == []
    assert not graph.done.done()


def test_qos_override_without_effect_is_reported(graph):
    statuses = listen_to_diagnostics(graph)
    name = f'qos_overrides.{graph.namespace}/imagee.publisher.depth'
    others = f'qos_overrides.{graph.namespace}/image.subscription.depth'
    graph.start(CameraNode, **{name: 3, others: 3})
    graph.wait(statuses)
    assert f"'{name}' has no effect; did you mean" in statuses()[0].message
    assert statuses()[0].message.count('no effect') == 1


def test_lockstep_waits_for_the_detections_of_each_frame(graph, folder):
    inbox = listen(graph)
    publisher = graph.node.create_publisher(Detection2DArray, 'detections', qos.detections())
    node = graph.start(CameraNode, source=folder, rate=1000.0, lockstep=True)
    graph.wait(publisher.get_subscription_count)
    for number in range(NUM_FRAMES):
        graph.wait(lambda count=number + 1: len(inbox) == count)
        assert node._source.num_frames == number + 1
        assert not graph.done.done()
        publisher.publish(Detection2DArray(header=inbox[-1].header))
    graph.wait(graph.done.done)
    assert graph.done.result() is None


def test_lockstep_resends_a_lost_frame_with_its_stamp(graph, folder, monkeypatch):
    monkeypatch.setattr(lockstep, 'RESEND_AFTER', 0.05)
    frames = []
    node = graph.start(CameraNode, source=folder, lockstep=True, sink=frames.append)
    graph.wait(lambda: len(frames) >= 3)
    assert node._source.num_frames == 1
    assert len({Time.from_msg(msg.header.stamp).nanoseconds for msg in frames}) == 1


def test_lockstep_without_a_detector_is_an_error(graph, folder, monkeypatch):
    monkeypatch.setattr(lockstep, 'RESEND_AFTER', 0.01)
    monkeypatch.setattr(lockstep, 'TIMEOUT', 0.05)
    graph.start(CameraNode, source=folder, lockstep=True)
    graph.wait(graph.done.done)
    with pytest.raises(MnssdError, match=rf'0\.png on {graph.namespace}/detections'):
        graph.done.result()


def test_lockstep_warns_of_a_frame_without_detections_and_continues(
    graph, folder, monkeypatch, capfd
):
    monkeypatch.setattr(lockstep, 'RESEND_AFTER', 0.05)
    publisher = graph.node.create_publisher(Detection2DArray, 'detections', qos.detections())
    stamps = []

    def detect(msg):
        """Refuse the second frame."""
        stamp = Time.from_msg(msg.header.stamp).nanoseconds
        if stamp not in stamps:
            stamps.append(stamp)
        patience = 0.1 if len(stamps) == 1 else 100.0  # for the next frame
        monkeypatch.setattr(lockstep, 'SKIP_AFTER', patience)
        if len(stamps) != 2:
            publisher.publish(Detection2DArray(header=msg.header))

    graph.start(CameraNode, source=folder, rate=1000.0, lockstep=True, sink=detect)
    graph.wait(graph.done.done)
    assert graph.done.result() is None
    assert len(stamps) == NUM_FRAMES
    logged = capfd.readouterr().err
    assert 'skipping 1.png, which has no detections: got none within' in logged
    assert logged.count('no detections') == 1


def test_lockstep_skips_a_first_frame_that_the_detector_refuses(graph, folder, capfd):
    publisher = graph.node.create_publisher(Detection2DArray, 'detections', qos.detections())
    statuses = graph.node.create_publisher(DetectorStatus, 'detector/status', qos.detections())
    stamps = []

    def detect(msg):
        """Fail on the first frame."""
        stamp = Time.from_msg(msg.header.stamp).nanoseconds
        if stamp not in stamps:
            stamps.append(stamp)
        if len(stamps) == 1:
            statuses.publish(DetectorStatus())
            statuses.publish(DetectorStatus(frames_failed=1, last_error='expected sides above 0'))
        else:
            publisher.publish(Detection2DArray(header=msg.header))

    graph.start(
        CameraNode, source=folder, rate=1000.0, lockstep=True, sink=detect, wait_for_subscribers=1
    )
    graph.wait(lambda: publisher.get_subscription_count() and statuses.get_subscription_count())
    listen(graph)
    graph.wait(graph.done.done)
    assert graph.done.result() is None
    assert len(stamps) == NUM_FRAMES
    logged = capfd.readouterr().err
    assert 'skipping 0.png, which has no detections: expected sides above 0' in logged


def test_node_can_be_destroyed_while_lockstep_waits(graph, folder):
    frames = []
    node = graph.start(CameraNode, source=folder, lockstep=True, sink=frames.append)
    graph.wait(lambda: frames)
    node.destroy_node()
    node._thread.join(20)
    assert not node._thread.is_alive()
    assert not graph.done.done()


def test_process_ends_with_its_source(start_process, folder):
    child = start_process(*CAMERA, '-p', f'source:={folder}', '-p', 'rate:=200.0')
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0, output
    assert f'ended after {NUM_FRAMES} frames' in output


def test_process_names_a_missing_source(start_process):
    child = start_process(*CAMERA, '-p', 'source:=/nowhere/at/all')
    output, _ = child.communicate(timeout=60)
    assert child.returncode == CANNOT_START, output
    assert "no source '/nowhere/at/all'" in output
    assert 'Traceback' not in output


def test_interrupted_process_ends_cleanly(start_process):
    child = start_process(*CAMERA)
    for line in child.stdout:
        if 'playing' in line:
            break
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0, output
    assert 'Traceback' not in output
