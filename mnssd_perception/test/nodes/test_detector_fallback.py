"""Tests of the detector with engines that fail to open or fail in flight, on a real graph."""
# ruff: noqa: E402 (ROS is imported only where it is installed)

from dataclasses import replace
import time

from mnssd_perception.bundle import Bundle, write_bundle
from mnssd_perception.engines import ENGINES
from mnssd_perception.engines import open as open_module
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
from mnssd_perception.errors import EngineError, MnssdError
import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('onnxruntime')

from lifecycle_msgs.msg import Transition
from mnssd_perception.nodes.detector_node import DetectorNode
from mnssd_perception.ros import qos
from mnssd_perception.ros.detections import from_message
from mnssd_perception.ros.diagnostics import ERROR, OK, WARN
from mnssd_perception.ros.images import from_array
from rclpy.lifecycle import TransitionCallbackReturn
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo, VisionInfo

pytestmark = pytest.mark.ros

DOMAIN = 60

NUM_SOUND = 3  # frames before a flaky engine fails


class FlakyEngine(OnnxRuntimeEngine):
    """Runs the network, and fails once `sound` images of flight were processed."""

    sound = NUM_SOUND

    def __init__(self, *args):
        super().__init__(*args)
        self.info = replace(self.info, name='flaky')
        self.num_runs = 0

    def _run(self, image):
        self.num_runs += 1
        heads = super()._run(image)
        return heads if self.num_runs <= self.sound else self.fail(heads)

    def fail(self, heads):
        raise RuntimeError('device lost')


class OutOfMemoryEngine(FlakyEngine):
    def fail(self, heads):
        raise MemoryError('64 MiB of device memory')


class NanEngine(FlakyEngine):
    def fail(self, heads):
        return tuple(head * np.nan for head in heads)


class WrongEngine(OnnxRuntimeEngine):
    """Finds nothing, without an error."""

    def _run(self, image):
        logits, offsets = super()._run(image)
        logits[:, 0] = 50
        return logits, offsets


class MissingEngine(OnnxRuntimeEngine):
    @staticmethod
    def available():
        return 'there is no such hardware'


@pytest.fixture
def offer(monkeypatch, tmp_path, bundle: Bundle):
    """Write a bundle with the same network for each of some engines; auto tries them so."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))

    def offer(**engines):
        (network,) = bundle.manifest.artefacts
        for name, engine in engines.items():
            monkeypatch.setitem(ENGINES, name, engine)
            monkeypatch.setitem(open_module.PRECISION_ORDER, name, ('fp32',))
        monkeypatch.setattr(open_module, 'AUTO_ORDER', {})
        monkeypatch.setattr(open_module, 'AUTO_ORDER_ELSEWHERE', tuple(engines))
        path = tmp_path / 'several.mnssd'
        entries = [entry.path for entry in bundle.manifest.files]
        artefacts = tuple(replace(network, engine=name) for name in engines)
        manifest = replace(bundle.manifest, artefacts=artefacts)
        write_bundle(path, manifest, {name: bundle.read(name) for name in entries})
        return str(path)

    return offer


def image_msg(image, number):
    """Make an image whose header identifies it."""
    header = Header(frame_id=f'frame {number}')
    header.stamp.sec, header.stamp.nanosec = 1000 + number, number
    return from_array(image, 'rgb8', header)


def assert_same(msg, expected, number):
    """Check that a message holds the detections in the image with a number."""
    assert (msg.header.frame_id, msg.header.stamp.sec) == (f'frame {number}', 1000 + number)
    found = from_message(msg)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.05)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)
    np.testing.assert_array_equal(found.labels, expected.labels)


def publish_and_wait(harness, image, number):
    harness.publish(image_msg(image, number))
    harness.graph.wait(lambda: len(harness.detections) == number)


@pytest.mark.parametrize(
    ('engine', 'reason'),
    [
        (FlakyEngine, 'device lost'),
        (OutOfMemoryEngine, '64 MiB of device memory'),
        (NanEngine, 'expected finite logits'),
    ],
    ids=['exception', 'memory', 'NaN'],
)
def test_engine_that_fails_in_flight_is_replaced_without_losing_a_frame(
    graph, start_detector, offer, bundle, sample, engine, reason
):
    image, expected = sample
    # The golden frames run on it before: three images.
    engine.sound = NUM_SOUND + len(bundle.manifest.golden)
    path = offer(flaky=engine, onnxruntime=OnnxRuntimeEngine)
    infos = graph.listen(VisionInfo, 'vision_info', qos.latched())
    labels = graph.listen(LabelInfo, 'label_info', qos.latched())
    harness = start_detector(bundle=path)
    harness.node._diagnostics._timer.cancel()  # only what is reported at once is published
    graph.wait(lambda: infos and labels)
    assert 'on flaky' in infos[-1].method
    for number in range(1, NUM_SOUND + 4):
        publish_and_wait(harness, image, number)
        assert_same(harness.detections[-1], expected, number)
    status = harness.status(lambda msg: msg.engine == 'onnxruntime')
    assert status.frames_failed == 0
    condition = 'WARN: engine flaky (fp32) is not used, restart the node to retry it: '
    assert status.conditions[0].startswith(condition)
    assert reason in status.conditions[0]
    report = harness.report(lambda status: 'is not used' in status.message)
    assert report.level == WARN
    values = {item.key: item.value for item in report.values}
    assert reason in values['not used: flaky (fp32)']
    graph.wait(lambda: 'on onnxruntime' in infos[-1].method)
    graph.wait(lambda: len(labels) > 1)
    assert labels[0].class_map == labels[-1].class_map
    # Each frame has one message.
    assert [msg.header.frame_id for msg in harness.detections] == [
        f'frame {number}' for number in range(1, NUM_SOUND + 4)
    ]


def test_state_is_loading_while_an_engine_is_replaced(graph, start_detector, offer, sample):
    image, _ = sample
    FlakyEngine.sound = 3

    class SlowEngine(OnnxRuntimeEngine):
        """Builds as long as the test wants, as TensorRT does."""

        def __init__(self, spec, network, options, precision):
            while not is_released:
                options.progress('building layer 7 of 90')
                time.sleep(0.01)
            super().__init__(spec, network, options, precision)

    is_released = []
    path = offer(flaky=FlakyEngine, slow=SlowEngine)
    harness = start_detector(bundle=path, engine_timeout=0.1)
    try:
        harness.publish(image_msg(image, 1))
        status = harness.status(lambda msg: msg.state == 'loading' and msg.frames_received)
        assert any('flaky (fp32) is not used' in line for line in status.conditions)
        harness.status(lambda msg: any('building layer 7 of 90' in x for x in msg.conditions))
        assert harness.report(lambda status: 'building layer 7 of 90' in status.message)
        assert not harness.detections
    finally:
        is_released.append(True)
    graph.wait(lambda: harness.detections)
    harness.status(lambda msg: msg.state == 'running')


def test_last_engine_that_fails_loses_frames_and_the_node_stays(start_detector, offer, sample):
    image, _ = sample
    FlakyEngine.sound = 3 + 1
    harness = start_detector(bundle=offer(flaky=FlakyEngine))
    publish_and_wait(harness, image, 1)
    for number in (2, 3):
        harness.publish(image_msg(image, number))
        status = harness.status(lambda msg, least=number - 1: msg.frames_failed >= least)
    assert (status.engine, status.state) == ('flaky', 'running')
    assert status.conditions[0].startswith('ERROR: frames on which the engine failed, 2 so far')
    assert 'device lost' in status.last_error
    assert harness.state() == 'active'


@pytest.mark.parametrize('replacement', [WrongEngine, MissingEngine], ids=['wrong', 'missing'])
def test_replacement_that_cannot_be_used_is_not(start_detector, offer, sample, replacement):
    image, _ = sample
    FlakyEngine.sound = 3
    harness = start_detector(bundle=offer(flaky=FlakyEngine, other=replacement))
    for number in (1, 2):
        harness.publish(image_msg(image, number))
        status = harness.status(lambda msg, least=number: msg.frames_failed >= least)
    assert status.engine == 'flaky'
    assert 'device lost' in status.last_error
    assert not harness.detections
    report = harness.next_report()
    assert report.level == ERROR
    values = {item.key: item.value for item in report.values}
    assert ('self-test' in values['not used: other (fp32)']) == (replacement is WrongEngine)
    is_condition = any('engine other (fp32) is not used' in line for line in status.conditions)
    assert is_condition == (replacement is WrongEngine)
    # The flaky engine is not among those that are not used.
    assert 'not used: flaky (fp32)' not in values


def test_replacement_is_skipped_for_the_next_one(start_detector, offer, sample):
    image, expected = sample
    FlakyEngine.sound = 3
    path = offer(flaky=FlakyEngine, wrong=WrongEngine, onnxruntime=OnnxRuntimeEngine)
    harness = start_detector(bundle=path)
    publish_and_wait(harness, image, 1)
    assert_same(harness.detections[0], expected, 1)
    status = harness.status(lambda msg: msg.engine == 'onnxruntime')
    assert sum('is not used' in line for line in status.conditions) == 2


def test_engine_that_fails_its_self_test_is_replaced_at_the_start(start_detector, offer, sample):
    image, expected = sample
    path = offer(wrong=WrongEngine, missing=MissingEngine, onnxruntime=OnnxRuntimeEngine)
    harness = start_detector(bundle=path)
    publish_and_wait(harness, image, 1)
    assert_same(harness.detections[0], expected, 1)
    status = harness.status(lambda msg: msg.conditions)
    assert len(status.conditions) == 1  # nobody expects all hardware on each machine
    assert status.conditions[0].startswith('WARN: engine wrong (fp32) is not used, ')
    report = harness.report(lambda status: 'engine wrong (fp32)' in status.message)
    values = {item.key: item.value for item in report.values}
    assert values['not used: missing (fp32)'] == 'there is no such hardware'
    assert 'clear ones are missing' in values['not used: wrong (fp32)']


def test_unavailable_engine_alone_is_no_condition(start_detector, offer):
    harness = start_detector(bundle=offer(missing=MissingEngine, onnxruntime=OnnxRuntimeEngine))
    harness.publish(image_msg(np.zeros((8, 8, 3), np.uint8), 1))
    harness.graph.wait(lambda: harness.detections)
    report = harness.report(lambda status: status.level == OK)
    assert 'not used: missing (fp32)' in {item.key for item in report.values}


def test_restart_of_the_node_retries_an_engine(start_detector, offer, sample):
    image, _ = sample
    FlakyEngine.sound = 3
    harness = start_detector(bundle=offer(flaky=FlakyEngine, onnxruntime=OnnxRuntimeEngine))
    publish_and_wait(harness, image, 1)
    harness.status(lambda msg: msg.engine == 'onnxruntime' and msg.conditions)
    harness.statuses.clear()
    for transition in ('DEACTIVATE', 'CLEANUP', 'CONFIGURE', 'ACTIVATE'):
        assert harness.change(getattr(Transition, f'TRANSITION_{transition}'))
    status = harness.status(lambda msg: msg.engine == 'flaky' and msg.state == 'running')
    assert not any('is not used' in line for line in status.conditions)


def test_no_engine_at_the_start_names_all(graph, offer):
    path = offer(wrong=WrongEngine, missing=MissingEngine)
    with pytest.raises(EngineError, match='no engine can run .* wrong .*; missing .* no such'):
        graph.start(DetectorNode, bundle=path, warmup=0)


def test_engine_that_is_chosen_is_not_replaced_by_another(graph, offer, monkeypatch):
    path = offer(onnxruntime=WrongEngine, other=OnnxRuntimeEngine)
    with pytest.raises(MnssdError, match='clear ones are missing'):
        graph.start(DetectorNode, bundle=path, warmup=0, engine='onnxruntime')


def test_reports_continue_while_the_first_engine_is_built(graph, offer):
    """Building takes minutes on a Jetson, in which a monitor sees that the node lives."""

    class SlowEngine(OnnxRuntimeEngine):
        def __init__(self, spec, network, options, precision):
            while len(lines) < 3 or 'building' not in lines[-1]:
                options.progress('building layer 7 of 90')
                time.sleep(0.01)
            super().__init__(spec, network, options, precision)

    lines = []

    def record(status):
        assert status.state == 'loading'
        lines.append(status.conditions[0])

    node = graph.start(DetectorNode, bundle=offer(slow=SlowEngine), autostart=False, warmup=0,
                       diagnostics_period=0.1)  # fmt: skip
    # Another process would receive the reports; this one is busy with the transition.
    node._status_publisher.publish = record
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert lines[0].startswith('WARN: not ready yet: opening engine')
    assert any('not ready yet: building layer 7 of 90 (for ' in line for line in lines)


def test_options_of_the_engine_are_those_of_the_parameters(graph, offer, tmp_path):
    seen = []

    class CuriousEngine(OnnxRuntimeEngine):
        def __init__(self, spec, network, options, precision):
            seen.append((options, precision))
            super().__init__(spec, network, options, precision)

    graph.start(DetectorNode, bundle=offer(curious=CuriousEngine), precision='fp32', threads=2,
                workspace_mib=64, dla_core=1, shared_device=True, spinning=True)  # fmt: skip
    ((options, precision),) = seen
    assert precision == 'fp32'
    assert (options.threads, options.spinning, options.workspace_mib) == (2, True, 64)
    assert (options.dla_core, options.shared_device) == (1, True)
    assert options.cache == tmp_path / 'cache' / 'mnssd'


@pytest.mark.parametrize(
    ('name', 'value'),
    [('engine', 'magic'), ('precision', 'int7'), ('dla_core', -2), ('dla_core', 16),
     ('workspace_mib', 15), ('threads', 257)],
)  # fmt: skip
def test_invalid_engine_parameters_are_refused(graph, name, value):
    with pytest.raises(MnssdError, match=name):
        graph.start(DetectorNode, autostart=False, **{name: value})


@pytest.mark.parametrize('name', ['engine', 'precision', 'dla_core', 'workspace_mib'])
def test_engine_parameters_cannot_change_at_runtime(harness, name):
    value = 'onnxruntime' if name == 'engine' else 'fp32' if name == 'precision' else 64
    assert not harness.set(name, value).successful
