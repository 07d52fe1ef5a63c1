"""Tests of the self-test that the detector runs when it is configured, on a real graph."""
# ruff: noqa: E402 (ROS is imported only where it is installed)

from dataclasses import replace

from mnssd_perception.bundle import file_entries, write_bundle
from mnssd_perception.errors import SelfTestError
import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from mnssd_perception import self_test
from mnssd_perception.nodes.detector_engine import EngineState
from mnssd_perception.nodes.detector_node import DetectorNode
from rclpy.lifecycle import TransitionCallbackReturn

pytestmark = pytest.mark.ros

DOMAIN = 67


def classify_everything_as_car(network):
    """Change the class scores of an ONNX network so that every prior is a car."""
    onnx = pytest.importorskip('onnx')
    model = onnx.load_from_string(network)
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            if name == 'logits':
                node.output[index] = 'honest_logits'
    bias = np.array([-20, 0, 20, 0, 0], np.float32)  # background, Person, Car, ...
    model.graph.initializer.append(onnx.numpy_helper.from_array(bias, 'bias'))
    logits = next(output for output in model.graph.output if output.name == 'logits')
    model.graph.value_info.add().CopyFrom(logits)
    model.graph.value_info[-1].name = 'honest_logits'
    model.graph.node.append(onnx.helper.make_node('Add', ['honest_logits', 'bias'], ['logits']))
    return model.SerializeToString()


@pytest.fixture
def write(tmp_path, bundle):
    """Write the bundle with another network or manifest; its digests fit."""

    def write(change=lambda network: network, **changes):
        files = {entry.path: bundle.read(entry.path) for entry in bundle.manifest.files}
        files['network.onnx'] = change(files['network.onnx'])
        manifest = replace(bundle.manifest, files=file_entries(files), **changes)
        write_bundle(tmp_path / 'changed.mnssd', manifest, files)
        return str(tmp_path / 'changed.mnssd')

    return write


def start(graph, **parameters):
    return graph.start(DetectorNode, warmup=0, threads=1, **parameters)


def state(graph):
    return graph.call(GetState, 'detector/get_state', GetState.Request()).current_state.id


def test_network_with_wrong_classes_is_refused(graph, write):
    path = write(classify_everything_as_car)
    with pytest.raises(SelfTestError, match='clear ones are'):
        start(graph, bundle=path)


def test_node_that_failed_the_self_test_stays_unconfigured(graph, write):
    node = start(graph, bundle=write(classify_everything_as_car), autostart=False)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert state(graph) == State.PRIMARY_STATE_UNCONFIGURED
    assert node._engine.state() == EngineState()
    assert graph.node.count_publishers('detections') == 0


def test_bundle_with_other_expected_detections_is_refused(graph, write, bundle):
    first, *others = bundle.manifest.golden
    wrong = replace(first, boxes=(), scores=(), labels=())
    with pytest.raises(SelfTestError, match=r'expected 0 detections, got \d+'):
        start(graph, bundle=write(golden=(wrong, *others)))


@pytest.mark.parametrize('num_golden', [0, 1])
def test_bundle_without_significant_golden_frames_is_a_warning(
    graph, write, bundle, monkeypatch, num_golden
):
    golden = bundle.manifest.golden[:num_golden]
    monkeypatch.setattr(self_test, 'find_difference', lambda *_: None)
    dull = tuple(replace(frame, boxes=(), scores=(), labels=()) for frame in golden)
    node = start(graph, bundle=write(golden=dull), autostart=False)
    warnings = []
    monkeypatch.setattr(type(node.get_logger()), 'warning', lambda _, text: warnings.append(text))
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert 'no golden frames' in warnings[0]


def test_passed_self_test_is_cached(graph, monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    start(graph, autostart=False).trigger_configure()
    assert list(tmp_path.glob('mnssd/self_test/*.json'))
    monkeypatch.setattr('mnssd_perception.self_test.decode_image', None)
    node = start(graph, autostart=False)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
