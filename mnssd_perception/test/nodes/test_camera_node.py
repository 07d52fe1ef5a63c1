"""Tests of the camera node on a real graph."""
# ruff: noqa: E402 (what needs ROS is imported where ROS is known to be there)

import signal
from threading import Event

import cv2
from mnssd_perception.errors import MnssdError, SettingsError, SourceError
import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray
from mnssd_perception.nodes import camera_node, lockstep
from mnssd_perception.nodes.camera_node import CameraNode
from mnssd_perception.ros import qos
from mnssd_perception.ros.diagnostics import ERROR, OK, WARN
from mnssd_perception.ros.images import to_bgr, to_rgb
from mnssd_perception.ros.transport import SharedMemory
from mnssd_perception.sources import Frame, FrameSource
from rclpy.time import Time
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

pytestmark = pytest.mark.ros

DOMAIN = 62
NUM_FRAMES = 6


@pytest.fixture
def folder(tmp_path):
    """Write frames whose brightness tells their number."""
    made = tmp_path / 'frames'
    made.mkdir()
    for number in range(NUM_FRAMES):
        image = np.full((24, 32, 3), (20 * number, 10, 200), np.uint8)
        cv2.imwrite(str(made / f'{number}.png'), image)
    return str(made)


def listen(graph):
    return graph.listen(Image, 'image', qos.detections())


def listen_to_health(graph):
    """Collect what the camera of this test says about itself."""
    inbox = graph.listen(DiagnosticArray, '/diagnostics')
    name = f'{graph.namespace[1:]}/camera: status'
    return lambda: [status for msg in list(inbox) for status in msg.status if status.name == name]


class GatedSource(FrameSource):
    """A camera whose read hangs until the test lets a frame through."""

    def __init__(self, num_frames=1):
        super().__init__('gated', rate=None, loop=False, report=lambda sentence: None)
        self.gate, self.is_read = Event(), Event()
        self._num_frames = num_frames

    def _play(self):
        for number in range(self._num_frames):
            self.is_read.set()
            self.gate.wait()
            yield Frame(np.zeros((4, 4, 3), np.uint8), str(number))


@pytest.mark.parametrize('source', ['', '/nowhere', 'synthetic:width=1'])
def test_a_source_that_cannot_be_opened(graph, source):
    with pytest.raises(SourceError):
        graph.start(CameraNode, source=source)


def test_a_bad_override_of_the_quality_of_service_is_refused_by_name(graph):
    name = f'qos_overrides.{graph.namespace}/image.publisher.reliability'
    with pytest.raises(SettingsError, match=f'{name}:=foo'):
        graph.start(CameraNode, **{name: 'foo'})


def test_plays_the_whole_source_and_is_done(graph, folder):
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
def test_encodings(graph, folder, encoding):
    inbox = listen(graph)
    graph.start(CameraNode, source=folder, rate=100.0, encoding=encoding, wait_for_subscribers=1)
    graph.wait(lambda: inbox)
    assert inbox[0].encoding == encoding
    expected = {'mono8': (61, 61, 61)}.get(encoding, (200, 10, 0))
    np.testing.assert_allclose(to_rgb(inbox[0])[0, 0], expected, atol=5)


def test_grey_photographs_stay_grey(graph, tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((4, 6), 9, np.uint8))
    inbox = listen(graph)
    graph.start(CameraNode, source=str(tmp_path / 'a.png'), wait_for_subscribers=1)
    graph.wait(lambda: inbox)
    assert (inbox[0].encoding, inbox[0].step) == ('mono8', 6)


def test_loops_and_stays(graph, folder):
    inbox = listen(graph)
    graph.start(CameraNode, source=folder, rate=200.0, loop=True, wait_for_subscribers=1)
    graph.wait(lambda: len(inbox) > 2 * NUM_FRAMES)
    assert not graph.done.done()


def test_stays_at_the_end_where_it_is_told_to(graph, folder):
    frames = []
    node = graph.start(
        CameraNode, sink=frames.append, source=folder, rate=200.0, exit_at_end=False
    )
    graph.wait(lambda: not node._thread.is_alive())
    assert len(frames) == NUM_FRAMES
    assert not graph.done.done()


def test_waits_for_subscribers(graph, folder):
    frames = []
    node = graph.start(
        CameraNode, sink=frames.append, source=folder, rate=200.0, wait_for_subscribers=1
    )
    graph.wait(lambda: node.count_publishers(f'{graph.namespace}/image'))
    assert not frames
    listen(graph)
    graph.wait(lambda: len(frames) == NUM_FRAMES)


def test_a_source_that_breaks_ends_the_process_with_its_error(graph, tmp_path):
    (tmp_path / 'a.png').write_bytes(b'garbage')
    graph.start(CameraNode, source=str(tmp_path))
    graph.wait(graph.done.done)
    with pytest.raises(MnssdError, match='no readable frame'):
        graph.done.result()


def test_a_failure_after_shutdown_is_none(folder):
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


def test_is_destroyed_while_it_plays(graph):
    frames = []
    node = graph.start(CameraNode, sink=frames.append)
    graph.wait(lambda: frames)
    node.destroy_node()
    node._thread.join(20)
    assert not node._thread.is_alive()
    assert not graph.done.done()


def test_a_camera_that_is_missing_is_an_error_in_the_diagnostics(graph):
    health = listen_to_health(graph)
    graph.start(CameraNode, source='/dev/video987')
    graph.wait(health)
    graph.wait(lambda: health()[-1].level == ERROR)
    assert "no camera '/dev/video987'" in health()[-1].message
    values = {entry.key: entry.value for entry in health()[-1].values}
    assert (values['source'], values['frames']) == ('/dev/video987', '0')
    graph.wait(lambda: {e.key: e.value for e in health()[-1].values}['retries'] != '0')
    assert not graph.done.done()


def test_a_camera_that_plays_is_fine(graph):
    health = listen_to_health(graph)
    graph.start(CameraNode, source='synthetic:width=64,height=48')
    graph.wait(lambda: health() and health()[-1].message != '0.0 frames/s')
    assert (health()[-1].level, health()[-1].message[-8:]) == (OK, 'frames/s')


def test_the_warning_of_missing_shared_memory_goes_with_the_subscriber(graph, monkeypatch):
    monkeypatch.setattr(camera_node, 'read_shared_memory', lambda _: SharedMemory(0, 0))
    health = listen_to_health(graph)
    subscription = graph.node.create_subscription(Image, 'image', lambda _: None, qos.detections())
    graph.start(CameraNode, source='synthetic:width=320,height=240')
    graph.wait(lambda: health() and health()[-1].level == WARN)
    assert 'shared memory' in health()[-1].message
    graph.node.destroy_subscription(subscription)
    graph.wait(lambda: health()[-1].level == OK)


def test_a_camera_that_hangs_is_left_behind(graph, monkeypatch):
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


def test_an_override_without_effect_is_reported(graph):
    health = listen_to_health(graph)
    name = f'qos_overrides.{graph.namespace}/imagee.publisher.depth'
    others = f'qos_overrides.{graph.namespace}/image.subscription.depth'
    graph.start(CameraNode, **{name: 3, others: 3})
    graph.wait(health)
    assert f"'{name}' has no effect; did you mean" in health()[0].message
    assert health()[0].message.count('no effect') == 1


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


def test_lockstep_sends_a_lost_frame_again_with_its_stamp(graph, folder, monkeypatch):
    monkeypatch.setattr(lockstep, 'RESEND_AFTER', 0.05)
    frames = []
    node = graph.start(CameraNode, source=folder, lockstep=True, sink=frames.append)
    graph.wait(lambda: len(frames) >= 3)
    assert node._source.num_frames == 1
    assert len({Time.from_msg(msg.header.stamp).nanoseconds for msg in frames}) == 1


def test_lockstep_without_a_detector_is_an_error_that_names_it(graph, folder, monkeypatch):
    monkeypatch.setattr(lockstep, 'RESEND_AFTER', 0.01)
    monkeypatch.setattr(lockstep, 'TIMEOUT', 0.05)
    graph.start(CameraNode, source=folder, lockstep=True)
    graph.wait(graph.done.done)
    with pytest.raises(MnssdError, match=rf'0\.png on {graph.namespace}/detections'):
        graph.done.result()


def test_lockstep_names_a_frame_without_detections_and_goes_on(graph, folder, monkeypatch, capfd):
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
    assert 'no detections of 1.png; the detector could not use it' in logged
    assert logged.count('no detections of') == 1


def test_a_camera_in_lockstep_is_destroyed_while_it_waits(graph, folder):
    frames = []
    node = graph.start(CameraNode, source=folder, lockstep=True, sink=frames.append)
    graph.wait(lambda: frames)
    node.destroy_node()
    node._thread.join(20)
    assert not node._thread.is_alive()
    assert not graph.done.done()


def test_the_process_ends_with_its_source(process, folder):
    child = process('camera_node', '-p', f'source:={folder}', '-p', 'rate:=200.0')
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0, output
    assert f'ended after {NUM_FRAMES} frames' in output


def test_the_process_says_what_is_missing(process):
    child = process('camera_node', '-p', 'source:=/nowhere/at/all')
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 1, output
    assert "no source '/nowhere/at/all'" in output
    assert 'Traceback' not in output


def test_the_process_ends_cleanly_when_interrupted(process):
    child = process('camera_node')
    for line in child.stdout:
        if 'playing' in line:
            break
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0, output
    assert 'Traceback' not in output
