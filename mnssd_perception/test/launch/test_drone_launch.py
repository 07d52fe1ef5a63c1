"""Tests of the launch file, where launch is installed."""
# ruff: noqa: E402 (launch is imported only where it is installed)

import importlib.util
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

launch = pytest.importorskip('launch')
pytest.importorskip('launch_ros')

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node
from launch_ros.utilities import evaluate_parameters
from mnssd_perception.ros.spin import CANNOT_START

pytestmark = [pytest.mark.ros, pytest.mark.ros_launch]

FILE = Path(__file__).parents[2] / 'launch' / 'drone.launch.py'


@pytest.fixture
def share(monkeypatch):
    """Use the files of the sources."""
    spec = importlib.util.spec_from_file_location('drone_launch', FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, 'get_package_share_directory', lambda name: str(FILE.parents[1]))
    for name in module.PROFILE_VARIABLES:
        monkeypatch.setenv(name, '')  # what launch sets is restored after the test
    return module


@pytest.fixture
def start(share):
    """Return the nodes that the launch file starts with some arguments."""

    def start(**arguments):
        context = launch.LaunchContext()
        for action in share.generate_launch_description().entities:
            if isinstance(action, DeclareLaunchArgument) and action.name in arguments:
                context.launch_configurations[action.name] = arguments[action.name]
            if isinstance(action, OpaqueFunction):
                found = action.execute(context)
            else:
                action.execute(context)
        nodes = [action for action in found if isinstance(action, Node)]
        return context, {node.node_executable: node for node in nodes}

    return start


def parameters(context, node):
    """Read the parameters that are given beside the parameter file."""
    given = evaluate_parameters(context, node._Node__parameters)
    return {
        name: value for entry in given if isinstance(entry, dict) for name, value in entry.items()
    }


def test_without_arguments_the_detector_is_started(start):
    context, nodes = start()
    assert set(nodes) == {'detector_node'}
    assert parameters(context, nodes['detector_node']) == {}


def test_every_argument_is_described(share):
    declared = share.generate_launch_description().get_launch_arguments()
    names = [argument.name for argument in declared]
    assert names == [name for name, *_ in share.ARGUMENTS]
    assert {
        'camera', 'bundle', 'engine', 'params_file', 'namespace', 'rviz', 'log_level', 'composed',
    } <= set(names)  # fmt: skip
    for argument in declared:
        assert len(argument.description) > 10
        assert argument.description != 'no description given'
        assert argument.default_value is not None


@pytest.mark.parametrize('camera', ['0', '/dev/video0', 'synthetic:', 'true', 'rtsp://u:p@host/1'])
@pytest.mark.parametrize('composed', ['true', 'false'])
def test_camera_is_a_string_whatever_it_looks_like(start, camera, composed):
    context, nodes = start(camera=camera, composed=composed)
    alone = composed == 'true'
    name = 'drone_node' if alone else 'camera_node'
    assert name in nodes
    # A camera in a process of its own waits for the detector.
    waiting = {} if alone else {'wait_for_subscribers': 1}
    assert parameters(context, nodes[name]) == {'source': camera, **waiting}


def test_arguments_become_parameters(start):
    context, nodes = start(
        camera='clip',
        rate='5',
        loop='true',
        bundle='1',
        bundle_digest='2',
        engine='onnxruntime',
        precision='int8',
        threads='2',
        composed='true',
    )
    assert parameters(context, nodes['drone_node']) == {
        'source': 'clip',
        'rate': 5.0,
        'loop': True,
        'bundle': '1',
        'bundle_digest': '2',
        'engine': 'onnxruntime',
        'precision': 'int8',
        'threads': 2,
    }


def ends_launch(node, returncode):
    """Tell whether an exit code of a node ends the launch, instead of restarting the node."""
    event = SimpleNamespace(process_name='node', returncode=returncode)
    try:
        return node._ExecuteLocal__on_exit(event, launch.LaunchContext()) is not None
    except RuntimeError:
        return True


def respawned(nodes):
    """List the nodes that are restarted."""
    names = {name for name, node in nodes.items() if is_true(node._ExecuteLocal__respawn)}
    for name, node in nodes.items():
        for returncode in (0, 1, -9):
            assert ends_launch(node, returncode) == (name not in names)
        # It would fail in the same way for ever.
        assert ends_launch(node, CANNOT_START)
    return names


def is_true(respawn):
    """Read the setting, which later versions of launch keep as substitutions."""
    return respawn if isinstance(respawn, bool) else respawn[0].text == 'true'


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        ({}, set()),
        ({'camera': '/dev/video0'}, {'camera_node'}),
        ({'camera': 'rtsp://camera/1'}, {'camera_node'}),
        ({'camera': 'clip.mp4'}, set()),
        ({'camera': 'synthetic:'}, set()),
        ({'camera': '0', 'composed': 'true'}, {'drone_node'}),
        ({'camera': '0', 'respawn': 'false'}, set()),
        ({'camera': 'clip.mp4', 'respawn': 'true'}, {'camera_node', 'detector_node'}),
        ({'respawn': 'true'}, {'detector_node'}),
    ],
    ids=str,
)
def test_respawn_argument_selects_the_restarted_nodes(start, arguments, expected):
    _, nodes = start(**arguments)
    assert respawned(nodes) == expected


@pytest.mark.parametrize(
    'arguments',
    [{'rate': 'fast'}, {'threads': 'many'}, {'composed': 'true'}, {'params_file': '/gone.yaml'}],
    ids=str,
)
def test_invalid_arguments_are_named(start, arguments):
    with pytest.raises(RuntimeError, match=next(iter(arguments))):
        start(**arguments)


def test_rviz_is_optional(start):
    _, nodes = start(rviz='true')
    assert set(nodes) == {'detector_node', 'rviz2'}


@pytest.mark.parametrize('arguments', [{}, {'dds_profile': 'fastdds_4k'}], ids=str)
def test_fast_dds_profile_is_set(share, start, arguments):
    start(**arguments)
    profile = FILE.parents[1] / 'config' / f'{arguments.get("dds_profile", "fastdds")}.xml'
    assert profile.is_file()
    assert {os.environ[name] for name in share.PROFILE_VARIABLES} == {str(profile)}


def test_fast_dds_profile_of_the_user_is_kept(share, start, monkeypatch):
    first, *others = share.PROFILE_VARIABLES
    monkeypatch.setenv(first, '/mine.xml')
    start()
    assert os.environ[first] == '/mine.xml'
    assert not any(os.environ[name] for name in others)
