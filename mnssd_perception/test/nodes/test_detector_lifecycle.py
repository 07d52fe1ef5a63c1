"""Tests of startup, lifecycle transitions and shutdown of the detector node."""
# ruff: noqa: E402 (ROS is imported only where it is installed)

from functools import partial
import random
import signal

from mnssd_perception.bundle import shipped_bundle_path
from mnssd_perception.errors import MnssdError, SettingsError
import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from mnssd_perception.nodes import detector_publishers
from mnssd_perception.nodes.detector_node import DetectorNode
from mnssd_perception.ros import qos
from mnssd_perception.ros.detections import from_message
from mnssd_perception.ros.diagnostics import ERROR
from mnssd_perception.ros.images import from_array
from mnssd_perception.ros.spin import CANNOT_START
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

pytestmark = pytest.mark.ros

DOMAIN = 74

# Longer than a busy machine takes [s].
PATIENCE = 100

NUM_REQUESTS = 40

DETECTOR = ('-m', 'mnssd_perception.nodes.detector_node', '--ros-args')

BLANK = np.zeros((8, 8, 3), np.uint8)


def test_lifecycle_transitions(graph, sample, start_detector):
    image, _ = sample
    harness = start_detector()
    harness.detect(image)
    assert harness.state() == 'active'
    assert harness.change(Transition.TRANSITION_DEACTIVATE)
    assert harness.state() == 'inactive'
    graph.wait(lambda: not graph.node.count_subscribers('image'))
    num = len(harness.detections)
    harness.node.submit(from_array(image, 'rgb8', Header()))  # is ignored
    assert harness.set('score_threshold', 0.6).successful
    assert harness.change(Transition.TRANSITION_CLEANUP)
    assert harness.state() == 'unconfigured'
    graph.wait(lambda: not graph.node.count_publishers('detections'))
    assert harness.change(Transition.TRANSITION_CONFIGURE)
    assert harness.change(Transition.TRANSITION_ACTIVATE)
    assert len(harness.detections) == num
    graph.wait(harness.camera.get_subscription_count)
    graph.wait(lambda: graph.node.count_publishers('detections'))
    found = graph.wait(
        lambda: harness.publish(from_array(image, 'rgb8', Header())) or harness.detections[num:]
    )
    assert from_message(found[0]).scores.min() >= 0.6
    assert harness.change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert harness.state() == 'finalized'
    assert not graph.done.done()


@pytest.mark.parametrize('transition', [0, 1, 2, 3, 5, 6, 99])
def test_invalid_transition_request_changes_nothing(harness, transition):
    assert not harness.change(transition)
    assert harness.state() == 'active'
    harness.detect(BLANK)


def test_every_transition_request_is_answered_under_load(graph, start_process):
    """A manager that asks for anything, while images come in and detections go out."""
    ways = {
        'unconfigured': {1: 'inactive', 5: 'finalized'},
        'inactive': {2: 'unconfigured', 3: 'active', 6: 'finalized'},
        'active': {4: 'inactive', 7: 'finalized'},
    }
    child = start_process(*DETECTOR, '-r', f'__ns:={graph.namespace}', '-p', 'warmup:=0')
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


def test_invalid_qos_override_fails_activation_by_name(graph, start_detector):
    name = f'qos_overrides.{graph.namespace}/image.subscription.reliability'
    harness = start_detector(autostart=False, **{name: 'foo'})
    assert harness.change(Transition.TRANSITION_CONFIGURE)
    for _ in range(2):
        assert not harness.change(Transition.TRANSITION_ACTIVATE)
        assert harness.state() == 'inactive'
        assert harness.node._worker is None
        report = harness.report(lambda status: name in status.message)
        assert report.level == ERROR
        status = harness.status(lambda msg: any(name in line for line in msg.conditions))
        assert status.state == 'inactive'
    assert harness.change(Transition.TRANSITION_CLEANUP)
    harness.report(lambda status: name not in status.message)
    with pytest.raises(SettingsError, match=name):
        graph.start(DetectorNode, warmup=0, **{name: 'foo'})


def test_unexpected_error_in_a_transition_is_reported_and_undone(start_detector, monkeypatch):
    harness = start_detector(autostart=False)
    assert harness.change(Transition.TRANSITION_CONFIGURE)
    with monkeypatch.context() as patch:
        patch.setattr(detector_publishers, 'to_label_info', lambda *_: 1 / 0)
        assert not harness.change(Transition.TRANSITION_ACTIVATE)
    assert harness.state() == 'inactive'
    assert harness.report(lambda status: 'ZeroDivisionError' in status.message).level == ERROR
    assert harness.change(Transition.TRANSITION_ACTIVATE)
    harness.report(lambda status: 'ZeroDivisionError' not in status.message)


def test_without_autostart_a_request_configures_the_node(graph):
    node = graph.start(DetectorNode, warmup=0, autostart=False)
    assert node._detector is None
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    assert graph.call(ChangeState, 'detector/change_state', request).success


def test_missing_bundle_fails_configuring_without_autostart(start_detector):
    harness = start_detector(autostart=False, bundle='/nowhere.mnssd')
    assert not harness.change(Transition.TRANSITION_CONFIGURE)
    assert harness.state() == 'unconfigured'
    assert harness.report(lambda status: '/nowhere.mnssd' in status.message).level == ERROR
    status = harness.status(lambda msg: '/nowhere.mnssd' in msg.conditions[0])
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
def test_invalid_startup_parameters_raise(graph, given):
    with pytest.raises(MnssdError):
        graph.start(DetectorNode, warmup=0, **given)


def test_process_names_a_missing_bundle(start_process):
    child = start_process(*DETECTOR, '-p', 'bundle:=/nowhere.mnssd')
    output, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == CANNOT_START, output
    assert '/nowhere.mnssd' in output
    assert 'Traceback' not in output


def test_interrupted_process_ends_cleanly(start_process):
    child = start_process(*DETECTOR, '-p', f'bundle:={shipped_bundle_path()}')
    for line in child.stdout:
        if 'waiting for images' in line:
            break
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0, output
    assert 'Traceback' not in output


def test_process_names_an_invalid_qos_override(start_process):
    name = 'qos_overrides./image.subscription.reliability'
    child = start_process(*DETECTOR, '-p', f'{name}:=foo')
    output, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == CANNOT_START, output
    assert f'{name}:=foo' in output
    assert 'Traceback' not in output
