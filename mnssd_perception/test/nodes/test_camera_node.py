"""Tests of the camera node on a real graph."""
# ruff: noqa: E402 (what needs ROS is imported where ROS is known to be there)

import signal

import cv2
from mnssd_perception.errors import MnssdError, SourceError
import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from mnssd_perception.nodes.camera_node import CameraNode
from mnssd_perception.ros import qos
from mnssd_perception.ros.images import to_bgr, to_rgb
from rclpy.time import Time
from sensor_msgs.msg import Image

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


@pytest.mark.parametrize('source', ['', '/nowhere', 'synthetic:width=1'])
def test_a_source_that_cannot_be_opened(graph, source):
    with pytest.raises(SourceError):
        graph.start(CameraNode, source=source)


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
    assert stamps[-1] - stamps[0] >= 0.9 * (NUM_FRAMES - 1) / 50 * 1e9


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
