"""Tests of the detector's parameters on a real graph."""
# ruff: noqa: E402 (ROS is imported only where it is installed)

from dataclasses import replace

from mnssd_perception.bundle import open_bundle, shipped_bundle_path, write_bundle
from mnssd_perception.errors import BundleError, SettingsError
from mnssd_perception.ssd import Thresholds
import pytest

rclpy = pytest.importorskip('rclpy')

from mnssd_perception.nodes.detector_node import DetectorNode
from mnssd_perception.nodes.parameters import DetectorParameters, threshold_parameters
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter, parameter_value_to_python

pytestmark = pytest.mark.ros

DOMAIN = 66

STRICT = Thresholds(0.6, 0.4, 7)


def write_changed(path, **changes):
    """Write the shipped bundle with another manifest."""
    shipped = open_bundle(shipped_bundle_path())
    files = {entry.path: shipped.read(entry.path) for entry in shipped.manifest.files}
    write_bundle(path, replace(shipped.manifest, **changes), files)
    return str(path)


@pytest.fixture(scope='module')
def strict(tmp_path_factory):
    """Make a bundle with its own thresholds."""
    path = tmp_path_factory.mktemp('bundles') / 'strict.mnssd'
    return write_changed(path, thresholds=STRICT, golden=())  # they need the thresholds they had


def start(graph, **parameters):
    return graph.start(DetectorNode, warmup=0, threads=1, autostart=False, **parameters)


def get(graph, *names):
    """Read parameters as ``ros2 param get`` does."""
    request = GetParameters.Request(names=names)
    values = graph.call(GetParameters, 'detector/get_parameters', request).values
    return [parameter_value_to_python(value) for value in values]


def set_one(graph, name, value):
    """Set a parameter as ``ros2 param set`` does."""
    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    (result,) = graph.call(SetParameters, 'detector/set_parameters', request).results
    return result.successful


def test_defaults_equal_those_of_the_thresholds():
    assert DetectorParameters().thresholds == Thresholds()


@pytest.mark.parametrize('thresholds', [Thresholds(), STRICT])
def test_thresholds_survive_a_round_trip(thresholds):
    assert DetectorParameters(**threshold_parameters(thresholds)).thresholds == thresholds


def test_thresholds_of_the_bundle_are_the_defaults(graph, strict):
    node = start(graph, bundle=strict)
    node.trigger_configure()
    assert node._detector.thresholds == STRICT
    assert get(graph, 'score_threshold', 'iou_threshold', 'max_detections') == [0.6, 0.4, 7]


def test_thresholds_given_at_startup_override_the_bundle(graph, strict):
    node = start(graph, bundle=strict, score_threshold=0.35, max_detections=3)
    node.trigger_configure()
    assert node._detector.thresholds == Thresholds(0.35, 0.4, 3)
    assert get(graph, 'score_threshold', 'max_detections') == [0.35, 3]


def test_thresholds_set_later_override_the_bundle_also_after_reconfiguring(graph, strict):
    node = start(graph, bundle=strict)
    assert set_one(graph, 'iou_threshold', 0.45)
    node.trigger_configure()
    assert node._detector.thresholds == replace(STRICT, iou=0.45)
    assert set_one(graph, 'score_threshold', 0.5)
    node.trigger_cleanup()
    node.trigger_configure()
    assert node._detector.thresholds == Thresholds(0.5, 0.45, 7)


def test_misspelled_parameter_is_refused_with_a_suggestion(graph):
    with pytest.raises(SettingsError, match="'score_treshold'; did you mean 'score_threshold'"):
        start(graph, score_treshold=0.6)


def test_parameters_of_the_camera_are_ignored(graph):
    start(graph, frame_id='nose', width=640)


# The digest that a bundle must have.


def test_bundle_with_the_expected_digest_is_loaded(graph):
    digest = open_bundle(shipped_bundle_path()).digest
    node = start(graph, bundle_digest=digest)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS


@pytest.mark.parametrize('digest', ['sha256:' + '0' * 64, 'sha256', 'any'])
def test_bundle_with_another_digest_is_refused(graph, digest):
    node = start(graph, bundle_digest=digest)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    with pytest.raises(BundleError, match='expected the digest'):
        graph.start(DetectorNode, warmup=0, threads=1, bundle_digest=digest)
