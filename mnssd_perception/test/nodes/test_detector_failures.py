"""Tests of how the detector node handles engines that fail or hang."""
# ruff: noqa: E402 (ROS is imported only where it is installed)

import signal
from threading import Event, RLock

import cv2
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
from mnssd_perception.errors import HungError
import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from lifecycle_msgs.msg import Transition
from mnssd_perception.nodes import detector_node, detector_publishers, detector_worker
from mnssd_perception.nodes.detector_node import DetectorNode
from mnssd_perception.ros import qos
from mnssd_perception.ros.diagnostics import ERROR, OK, WARN
from mnssd_perception.ros.images import from_array
from sensor_msgs.msg import Image
from std_msgs.msg import Header

pytestmark = pytest.mark.ros

DOMAIN = 73

# Longer than a busy machine takes [s].
PATIENCE = 100

BLANK = np.zeros((8, 8, 3), np.uint8)

RUN = OnnxRuntimeEngine._run


@pytest.mark.parametrize(
    'corrupt',
    [
        lambda heads: [head * np.nan for head in heads],
        lambda heads: [head - np.inf for head in heads],
        lambda heads: 1 / 0,
        lambda heads: bytearray(2**62),
    ],
    ids=['NaN', '-inf', 'exception', 'memory'],
)
def test_engine_failure_is_an_error_until_a_frame_succeeds(harness, monkeypatch, corrupt):
    harness.detect(BLANK)
    with monkeypatch.context() as patch:
        patch.setattr(harness.engine, '_run', lambda image: corrupt(RUN(harness.engine, image)))
        for number in (1, 2):
            harness.publish(from_array(BLANK, 'rgb8', Header()))
            status = harness.status(lambda msg, least=number: msg.frames_failed >= least)
        assert harness.report(lambda status: status.level == ERROR)
        assert status.conditions[0].startswith(
            'ERROR: frames on which the engine failed, 2 so far: '
        )
        assert status.last_error
        assert (status.state, status.frames_processed) == ('running', 1)
    harness.detect(BLANK)
    harness.status(lambda msg: msg.frames_processed == 2 and not msg.conditions)
    assert harness.next_report().level == OK


def test_out_of_memory_in_conversion_fails_the_frame(harness, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(detector_worker, 'to_rgb', lambda msg: bytearray(2**62))
        harness.publish(from_array(BLANK, 'rgb8', Header()))
        assert 'memory' in harness.status(lambda msg: msg.frames_failed).last_error
    harness.detect(BLANK)


def test_out_of_memory_in_publishing_fails_the_frame(harness, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(detector_publishers, 'to_message', lambda *_: bytearray(2**62))
        harness.publish(from_array(BLANK, 'rgb8', Header()))
        status = harness.status(lambda msg: msg.frames_failed)
        assert 'not enough memory for the frame' in status.last_error
        assert status.frames_processed == 0
    harness.detect(BLANK)


@pytest.mark.parametrize(
    'draw',
    [lambda *_: bytearray(2**62), lambda *_: cv2.cvtColor(BLANK, -1)],
    ids=['memory', 'OpenCV'],
)
def test_overlay_failure_loses_no_detections(harness, monkeypatch, draw):
    overlays = harness.graph.listen(Image, 'overlay', qos.detections())
    harness.graph.wait(harness.node._outputs.overlay.get_subscription_count)
    with monkeypatch.context() as patch:
        patch.setattr(detector_publishers, 'draw_detections', draw)
        for _ in range(2):
            harness.detect(BLANK)
        report = harness.report(lambda status: 'without an overlay, 2 so far' in status.message)
        assert report.level == WARN
    status = harness.status(lambda msg: msg.conditions)
    assert (status.frames_processed, status.frames_failed) == (2, 0)
    assert not overlays
    harness.detect(BLANK)
    harness.graph.wait(lambda: overlays)
    harness.status(lambda msg: msg.frames_processed == 3 and not msg.conditions)
    assert harness.next_report().level == OK


@pytest.fixture
def hang(monkeypatch):
    """Make the engine of a harness hang in the next frame; the result lets it go on."""
    entered, released = Event(), Event()

    def hang(harness):
        engine = harness.engine

        def run(image):
            entered.set()
            released.wait()
            return RUN(engine, image)

        monkeypatch.setattr(engine, '_run', run)
        harness.publish(from_array(BLANK, 'rgb8', Header()))
        harness.graph.wait(entered.is_set)
        return released

    yield hang
    released.set()


def test_hung_engine_is_an_error_until_it_returns(harness, hang):
    harness.detect(BLANK)
    assert harness.set('engine_timeout', 0.2).successful
    released = hang(harness)
    status = harness.status(lambda msg: msg.state == 'hung')
    assert status.conditions[0].startswith('ERROR: the engine hangs: one frame has taken ')
    assert harness.report(lambda status: 'one frame has taken' in status.message).level == ERROR
    released.set()
    harness.graph.wait(lambda: len(harness.detections) == 2)
    harness.status(lambda msg: msg.frames_processed == 2 and msg.state == 'running')
    assert harness.next_report().level == OK


def test_hung_engine_is_reported_before_the_next_period(start_detector, hang):
    harness = start_detector(diagnostics_period=0.1)
    harness.node._diagnostics._timer.cancel()
    assert harness.set('engine_timeout', 0.2).successful
    hang(harness)
    harness.status(lambda msg: msg.state == 'hung')


def test_deactivating_with_a_hung_engine_fails(harness, hang, monkeypatch):
    monkeypatch.setattr(detector_node, 'MAX_FRAME_TIME', 1.0)
    assert harness.set('engine_timeout', 1.0).successful
    released = hang(harness)
    assert not harness.change(Transition.TRANSITION_DEACTIVATE)
    assert harness.state() == 'finalized'
    status = harness.status(lambda msg: any('engine hangs' in line for line in msg.conditions))
    assert status.state == 'hung'
    assert not harness.change(Transition.TRANSITION_CONFIGURE)
    with pytest.raises(HungError):
        harness.node.destroy_node()
    # What it finds too late is not published by a node that was destroyed.
    released.set()
    harness.node._worker._thread.join()
    assert harness.node._worker.failure is None
    assert not harness.detections


def test_node_can_be_destroyed_under_the_context_lock(context, monkeypatch):
    """On Kilted and later, ``rclpy.shutdown()`` destroys the nodes under this lock."""
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    node = DetectorNode(rclpy.task.Future(executor=executor), subscribe=False, context=context)
    entered, engine = Event(), node._detector.engine._engine
    monkeypatch.setattr(engine, '_run', lambda image: entered.set() or RUN(engine, image))
    monkeypatch.setattr(context, '_lock', RLock())
    with context._lock:
        node.submit(from_array(BLANK, 'rgb8', Header()))
        entered.wait()
        node.destroy_node()
    executor.shutdown(timeout_sec=1.0)
    assert node._worker is None


def test_unexpected_failure_is_reported_and_ends_the_process(harness, monkeypatch):
    monkeypatch.setattr(detector_publishers, 'to_message', lambda *_: 1 / 0)
    harness.publish(from_array(BLANK, 'rgb8', Header()))
    harness.graph.wait(harness.graph.done.done)
    with pytest.raises(ZeroDivisionError):
        harness.graph.done.result()
    status = harness.status(lambda msg: msg.state == 'failed')
    assert 'ZeroDivisionError' in status.last_error
    assert harness.report(lambda status: 'ZeroDivisionError' in status.message).level == ERROR


def test_worker_failure_after_shutdown_is_ignored(bundle, monkeypatch):
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=DOMAIN)
    done = rclpy.task.Future(executor=rclpy.executors.SingleThreadedExecutor(context=context))
    node = DetectorNode(done, subscribe=False, context=context)
    rclpy.shutdown(context=context)
    worker = node._worker
    monkeypatch.setattr(
        node._outputs.detections, 'publish', lambda _: 1 / 0
    )  # as an invalid context does
    node.submit(from_array(BLANK, 'rgb8', Header()))
    worker._thread.join()
    assert isinstance(worker.failure, ZeroDivisionError)
    assert not done.done()
    node.destroy_node()


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
    [('engine_0', 'verify ('), ('detector', 'detector: ')],
    ids=['warm-up', 'frame'],
)
def test_process_with_a_hung_engine_is_ended_by_a_signal(
    start_process, fp32_bundle, thread, place
):
    bundle = ('--ros-args', '-p', f'bundle:={fp32_bundle}')
    child = start_process('-c', HANGING.format(thread=thread), *bundle)
    for line in child.stdout:
        if 'hanging now' in line:
            break
    else:
        pytest.fail('it ended before')
    child.send_signal(signal.SIGTERM)
    output, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == 1, output
    assert place in output
