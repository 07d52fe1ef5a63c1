"""Tests of the parameter file: it contains the defaults of the code."""
# ruff: noqa: E402 (ROS is imported only where it is installed)

from dataclasses import fields
from pathlib import Path

import pytest

rclpy = pytest.importorskip('rclpy')
yaml = pytest.importorskip('yaml')

from mnssd_perception.nodes.parameters import (
    CameraParameters,
    DetectorParameters,
    PARAMETER_NAMES,
    threshold_parameters,
)
from mnssd_perception.ros.parameters import Parameters
from mnssd_perception.ssd import Thresholds
from rclpy.node import Node

pytestmark = pytest.mark.ros

DOMAIN = 65
FILE = Path(__file__).parents[2] / 'config' / 'drone.param.yaml'
PARAMETERS = {'camera': CameraParameters, 'detector': DetectorParameters}


def test_no_parameter_name_is_used_by_both_nodes():
    first, second = (
        {entry.name for entry in fields(parameters)} for parameters in PARAMETERS.values()
    )
    assert not first & second


def test_file_contains_the_defaults():
    # One section for all nodes: one of a node would win over the command line.
    (section,) = yaml.safe_load(FILE.read_text()).items()
    name, written = section[0], section[1]['ros__parameters']
    assert name == '/**'
    defaults = {
        entry.name: entry.default
        for parameters in PARAMETERS.values()
        for entry in fields(parameters)
    }
    for key, value in defaults.items():
        if isinstance(value, tuple):  # a parameter file cannot express an empty list
            defaults[key] = list(value) or ['']
    for key in threshold_parameters(Thresholds()):  # the values of the bundle would not count
        del defaults[key]
    assert written == defaults
    assert list(written) == list(defaults)
    assert [type(value) for value in written.values()] == [
        type(value) for value in defaults.values()
    ]


@pytest.mark.parametrize('namespace', ['', '/drone', '/fleet/drone'])
@pytest.mark.parametrize('name', PARAMETERS)
def test_file_is_accepted_by_the_nodes(name, namespace, tmp_path):
    changed = FILE.read_text().replace('autostart: true', 'autostart: false')
    changed = changed.replace('frame_id: camera_optical_frame', 'frame_id: nose')
    (tmp_path / 'drone.param.yaml').write_text(changed)
    context = rclpy.Context()
    arguments = ['--ros-args', '--params-file', str(tmp_path / 'drone.param.yaml')]
    rclpy.init(args=arguments, context=context, domain_id=DOMAIN)
    node = Node(name, namespace=namespace, context=context)
    values = Parameters(node, PARAMETERS[name], known_names=PARAMETER_NAMES).values
    node.destroy_node()
    rclpy.shutdown(context=context)
    expected = {'camera': {'frame_id': 'nose'}, 'detector': {'autostart': False}}
    assert values == PARAMETERS[name](**expected[name])
