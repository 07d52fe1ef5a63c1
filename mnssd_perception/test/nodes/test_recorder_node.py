"""Tests of the recorder as a process on a real DDS graph."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs rclpy')
pytest.importorskip('vision_msgs', reason='needs the built messages')

from builtin_interfaces.msg import Time as Stamp
from mnssd_perception.nodes.recorder_node import LAST_FRAMES
from mnssd_perception.ros import qos
from mnssd_perception.ros.detections import to_label_info, to_message
from mnssd_perception.ros.images import from_array
from mnssd_perception.ros.spin import CANNOT_START
from mnssd_perception.ssd import Detections
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo

pytestmark = pytest.mark.ros

NS = 10**9

# Unused by other test files, and different in parallel runs.
DOMAIN = 40 + os.getpid() % 20

TIMEOUT = 60.0


def make_detections(num: int) -> Detections:
    boxes = np.tile(np.array([10, 20, 60, 90], np.float32), (num, 1))
    return Detections(boxes, np.full(num, 0.75, np.float32), np.ones(num, np.int64))


class Graph:
    """Publishers of a camera and a detector."""

    def __init__(self, context: rclpy.Context) -> None:
        self.node = rclpy.create_node('stand_in', context=context)
        make = self.node.create_publisher
        self.image = make(Image, 'image', qos.image_out())
        self.detections = make(Detection2DArray, 'detections', qos.detections())
        self.overlay = make(Image, 'overlay', qos.image_out())
        self.labels = make(LabelInfo, 'label_info', qos.latched())
        self.labels.publish(to_label_info(['Person', 'Car'], 0.35, Header()))

    def wait_for_recorder(self, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + TIMEOUT
        publishers = (self.detections, self.overlay, self.labels)
        while not all(publisher.get_subscription_count() for publisher in publishers):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, 'expected the recorder to subscribe'
            time.sleep(0.05)
        time.sleep(0.5)  # it has found us as we have found it, and the labels have arrived

    def show(self, header: Header, num: int) -> None:
        """Publish the detections and overlay of one frame."""
        self.detections.publish(to_message(make_detections(num), header))
        image = np.full((96, 128, 3), (200, 100, 20), np.uint8)
        self.overlay.publish(from_array(image, 'rgb8', header))

    def play(self, nums: Sequence[int], *, overlay: bool = True, period: float = 0.1) -> None:
        """Publish a frame for each number of detections."""
        begin = self.node.get_clock().now().nanoseconds
        for index, num in enumerate(nums):
            stamp_ns = begin + round(index * period * NS)
            stamp = Stamp(sec=stamp_ns // NS, nanosec=stamp_ns % NS)
            header = Header(stamp=stamp, frame_id='camera')
            self.detections.publish(to_message(make_detections(num), header))
            if overlay:
                image = np.full((96, 128, 3), (200, 100, 20 * index % 256), np.uint8)
                self.overlay.publish(from_array(image, 'rgb8', header))
            time.sleep(period)


@pytest.fixture
def graph() -> Iterator[Graph]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    graph = Graph(context)
    yield graph
    graph.node.destroy_node()
    context.try_shutdown()


@contextmanager
def recorder(output: Path, **parameters: object) -> Iterator[subprocess.Popen[str]]:
    """Run the recorder as a process."""
    parameters = {'output': str(output), 'idle_timeout': 2.0, **parameters}
    arguments = [word for pair in parameters.items() for word in ('-p', '{}:={}'.format(*pair))]
    process = subprocess.Popen(
        [sys.executable, '-m', 'mnssd_perception.nodes.recorder_node', '--ros-args', *arguments],
        env={**os.environ, 'ROS_DOMAIN_ID': str(DOMAIN), 'PYTHONUNBUFFERED': '1'},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / 'detections.jsonl').read_text().splitlines()]


def video(folder: Path) -> tuple[float, int]:
    """Read the rate of the video and count its frames."""
    capture = cv2.VideoCapture(str(folder / 'overlay.mp4'))
    rate, num = capture.get(cv2.CAP_PROP_FPS), 0
    while capture.read()[0]:
        num += 1
    capture.release()
    return rate, num


def test_all_files_are_written_and_it_ends_when_idle(tmp_path: Path, graph: Graph) -> None:
    output = tmp_path / 'new' / 'folder'
    with recorder(output, ready_file=tmp_path / 'ready') as process:
        graph.wait_for_recorder(process)
        assert (tmp_path / 'ready').exists()
        graph.play([2, 0, 1, 3, 0, 2, 1, 1])
        printed, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, errors
    assert [len(line['detections']) for line in lines(output)] == [2, 0, 1, 3, 0, 2, 1, 1]
    first = lines(output)[0]
    assert first['frame_id'] == 'camera'
    assert first['detections'][0]['class_name'] == 'Car'
    assert first['detections'][0]['box_xyxy'] == [10, 20, 60, 90]
    assert -1 < first['latency_ms'] < 5000
    rate, num = video(output)
    assert rate == pytest.approx(10, abs=0.2)
    assert num == 8
    assert cv2.imread(str(output / 'contact_sheet.jpg')) is not None
    assert '8 frames, 10 detections' in printed
    for name in ('detections.jsonl', 'overlay.mp4', 'contact_sheet.jpg'):
        assert str(output / name) in printed
    assert 'Traceback' not in errors


def test_it_ends_soon_after_the_camera(tmp_path: Path, graph: Graph) -> None:
    with recorder(tmp_path, idle_timeout=3600.0) as process:
        graph.wait_for_recorder(process)
        graph.play([1, 1, 1])
        graph.node.destroy_publisher(graph.image)
        assert process.wait(20) == 0
    assert len(lines(tmp_path)) == 3


def test_camera_that_is_not_discovered_yet_does_not_end_it(tmp_path: Path, graph: Graph) -> None:
    graph.node.destroy_publisher(graph.image)
    with recorder(tmp_path, idle_timeout=3600.0) as process:
        graph.wait_for_recorder(process)
        graph.play([1])
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2 * LAST_FRAMES)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert len(lines(tmp_path)) == 1


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_signal_finishes_the_files(tmp_path: Path, graph: Graph, number: signal.Signals) -> None:
    with recorder(tmp_path, idle_timeout=3600.0) as process:
        graph.wait_for_recorder(process)
        graph.play([1, 1, 1, 1])
        process.send_signal(number)
        printed, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert video(tmp_path)[1] == 4
    assert (tmp_path / 'contact_sheet.jpg').exists()
    assert '4 frames, 4 detections' in printed
    assert 'Traceback' not in errors


def test_detections_without_overlay_give_no_video(tmp_path: Path, graph: Graph) -> None:
    with recorder(tmp_path) as process:
        graph.wait_for_recorder(process)
        graph.play([1, 0], overlay=False)
        assert process.wait(20) == 0
    assert len(lines(tmp_path)) == 2
    assert not (tmp_path / 'overlay.mp4').exists()
    assert not (tmp_path / 'contact_sheet.jpg').exists()


def test_invalid_overlay_is_skipped(tmp_path: Path, graph: Graph) -> None:
    with recorder(tmp_path) as process:
        graph.wait_for_recorder(process)
        graph.overlay.publish(Image(height=4, width=4, encoding='rgb8', step=1))
        graph.play([1, 1])
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert 'invalid overlay' in errors
    assert video(tmp_path)[1] == 2


def test_resent_frame_counts_once_and_is_acknowledged_again(tmp_path: Path, graph: Graph) -> None:
    inbox: list[Detection2DArray] = []
    graph.node.create_subscription(Detection2DArray, 'recorded', inbox.append, qos.detections())
    executor = SingleThreadedExecutor(context=graph.node.context)
    executor.add_node(graph.node)
    first, second = (Header(stamp=Stamp(sec=sec), frame_id='camera') for sec in (1, 2))
    with recorder(tmp_path) as process:
        graph.wait_for_recorder(process)
        for num, header in enumerate((first, first, second), start=1):
            graph.show(header, num=1)
            deadline = time.monotonic() + TIMEOUT
            while sum(msg.header == header for msg in inbox) < (num == 2) + 1:
                assert time.monotonic() < deadline, 'expected the frame to be acknowledged'
                executor.spin_once(timeout_sec=0.05)
        printed, errors = process.communicate(timeout=TIMEOUT)
    executor.shutdown()
    assert process.returncode == 0, errors
    assert '2 frames, 2 detections' in printed
    assert [line['stamp']['sec'] for line in lines(tmp_path)] == [1, 2]


def test_frame_is_acknowledged_only_with_its_overlay(tmp_path: Path, graph: Graph) -> None:
    inbox: list[Detection2DArray] = []
    graph.node.create_subscription(Detection2DArray, 'recorded', inbox.append, qos.detections())
    with recorder(tmp_path) as process:
        graph.wait_for_recorder(process)
        graph.play([1, 1], overlay=False)
        process.communicate(timeout=TIMEOUT)
    rclpy.spin_once(
        graph.node, timeout_sec=0.5, executor=SingleThreadedExecutor(context=graph.node.context)
    )
    assert inbox == []


def test_frames_without_a_stamp_all_count(tmp_path: Path, graph: Graph) -> None:
    with recorder(tmp_path) as process:
        graph.wait_for_recorder(process)
        for _ in range(3):
            graph.detections.publish(to_message(make_detections(1), Header()))
        process.communicate(timeout=TIMEOUT)
    assert len(lines(tmp_path)) == 3


def test_without_detections_it_fails_with_a_reason(tmp_path: Path, graph: Graph) -> None:
    with recorder(tmp_path, start_timeout=1.0) as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert 'expected detections on /detections within 1 s, got none' in errors
    assert 'Traceback' not in errors


def test_folder_that_is_not_writable_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    with recorder(tmp_path / 'file') as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == CANNOT_START
    assert 'choose another folder' in errors
    assert 'Traceback' not in errors


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='needs /dev/full')
def test_full_disk_ends_it_with_a_reason(tmp_path: Path, graph: Graph) -> None:
    (tmp_path / 'detections.jsonl').symlink_to('/dev/full')
    with recorder(tmp_path, idle_timeout=3600.0) as process:
        graph.wait_for_recorder(process)
        graph.play([1, 1])
        printed, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert 'No space left' in errors
    assert 'Traceback' not in errors
    assert 'detections.jsonl' not in printed  # it is incomplete


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='needs /dev/full')
def test_failure_of_one_file_at_the_end_leaves_the_others_complete(
    tmp_path: Path, graph: Graph
) -> None:
    (tmp_path / 'contact_sheet.jpg').symlink_to('/dev/full')
    with recorder(tmp_path) as process:
        graph.wait_for_recorder(process)
        graph.play([1, 1])
        printed, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert 'contact_sheet.jpg' in errors
    assert 'Traceback' not in errors
    assert len(lines(tmp_path)) == video(tmp_path)[1] == 2
    assert 'overlay.mp4' in printed
