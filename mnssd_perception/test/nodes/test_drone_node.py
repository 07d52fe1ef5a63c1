"""Tests of camera and detector in one process."""

import signal

from mnssd_perception.bundle import shipped_bundle_path
import pytest

pytest.importorskip('rclpy')

from mnssd_perception.ros import qos
from mnssd_perception.ros.spin import CANNOT_START
from rclpy.time import Time
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

pytestmark = pytest.mark.ros

DOMAIN = 64

DRONE = ('-m', 'mnssd_perception.nodes.drone_node', '--ros-args')

# Longer than a busy machine takes [s].
PATIENCE = 100


def arguments(graph, **parameters):
    """Write the command line of a drone in the namespace of the test."""
    given = {'bundle': shipped_bundle_path(), 'warmup': 0, **parameters}
    made = ['-r', f'__ns:={graph.namespace}']
    for name, value in given.items():
        made += ['-p', f'{name}:={value}']
    return made


def test_detections_arrive_without_image_subscribers(graph, start_process, clip):
    inbox = graph.listen(Detection2DArray, 'detections', qos.detections())
    given = {'source': clip[0].parent, 'rate': 20.0, 'loop': 'true', 'frame_id': 'nose'}
    child = start_process(*DRONE, *arguments(graph, **given))
    graph.wait(lambda: len(inbox) >= 5)
    assert not graph.node.count_subscribers('image')
    assert any(len(msg.detections) for msg in inbox)
    assert {msg.header.frame_id for msg in inbox} == {'nose'}
    stamps = [Time.from_msg(msg.header.stamp).nanoseconds for msg in inbox]
    assert stamps == sorted(set(stamps))
    # Whoever subscribes gets the images that the detections are of.
    images = graph.listen(Image, 'image', qos.detections())
    graph.wait(lambda: len(images) >= 2)
    # A detector that is slower than the camera drops frames, so not every image has detections.
    graph.wait(
        lambda: any(image.header == found.header for image in images for found in inbox[-50:])
    )
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0, output
    assert 'Traceback' not in output


def test_lockstep_processes_every_frame(graph, start_process, clip, tmp_path):
    for path in clip[:5]:
        (tmp_path / path.name).symlink_to(path)
    # Faster than any detector: by itself it would drop frames for newer ones.
    given = {'source': tmp_path, 'rate': 1000.0, 'lockstep': 'true'}
    child = start_process(*DRONE, *arguments(graph, **given))
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0, output
    assert 'ended after 5 frames' in output
    assert '5 processed, 0 dropped for newer ones' in output


def test_process_ends_with_its_source(graph, start_process):
    given = {'source': 'synthetic:frames=5', 'rate': 100.0}
    child = start_process(*DRONE, *arguments(graph, **given))
    output, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0, output
    assert 'ended after 5 frames' in output


@pytest.mark.parametrize(
    'given',
    [{'source': '/nowhere/at/all'}, {'bundle': '/nowhere/at/all'}],
    ids=['source', 'bundle'],
)
def test_process_names_a_missing_source_or_bundle(graph, start_process, given):
    child = start_process(*DRONE, *arguments(graph, **given))
    output, _ = child.communicate(timeout=60)
    assert child.returncode == CANNOT_START, output
    assert '/nowhere/at/all' in output
    assert 'Traceback' not in output


def test_process_ends_cleanly_under_full_load(graph, start_process):
    inbox = graph.listen(Detection2DArray, 'detections', qos.detections())
    child = start_process(*DRONE, *arguments(graph, rate=1000.0))
    graph.wait(lambda: inbox)
    child.send_signal(signal.SIGTERM)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0, output
    assert 'failed' not in output
    assert 'Traceback' not in output
