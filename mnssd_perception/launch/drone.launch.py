"""Launch camera and detector: ``ros2 launch mnssd_perception drone.launch.py camera:=0``."""

from functools import partial
import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from mnssd_perception.bundle import PRECISIONS
from mnssd_perception.cli.environment import PROFILE_VARIABLES
from mnssd_perception.engines import ENGINES
from mnssd_perception.sources import is_live

PACKAGE = 'mnssd_perception'

ARGUMENTS = (
    ('camera', '', 'a folder of images, a video file, /dev/video0, rtsp://..., gst:<pipeline> or '
     'synthetic:; empty if another node publishes the images', None),
    ('image', 'image', 'topic of the images', None),
    ('rate', '0.0', 'frames per second; 0 for the rate of the camera', None),
    ('loop', 'false', 'whether to play a folder or a video in a loop', ('true', 'false')),
    ('bundle', '', 'path of the model bundle; empty for the one that is shipped', None),
    ('bundle_digest', '', 'digest that the bundle must have, sha256:...; empty for any', None),
    ('engine', 'auto', 'inference engine; auto for the fastest that works', ('auto', *ENGINES)),
    ('precision', '', 'precision of the network; empty for the fastest', ('', *PRECISIONS)),
    ('threads', '0', 'CPU threads of the engine; 0 for its default', None),
    ('params_file', '', 'parameter file; empty for config/drone.param.yaml', None),
    ('namespace', '', 'namespace of all nodes', None),
    ('composed', 'false', 'run camera and detector in one process', ('true', 'false')),
    ('respawn', 'auto', 'which nodes to restart when they end, unless they cannot start: auto for '
     'a camera that is a device or a stream, true for all, false for none',
     ('auto', 'true', 'false')),
    ('dds_profile', 'fastdds', 'Fast DDS profile with shared memory for raw images: fastdds up '
     'to 1080p, fastdds_4k above', ('fastdds', 'fastdds_4k')),
    ('rviz', 'false', 'show the overlay in rviz2', ('true', 'false')),
    ('use_sim_time', 'false', 'use the time on /clock', ('true', 'false')),
    ('log_level', 'info', 'minimum severity that is logged',
     ('debug', 'info', 'warn', 'error', 'fatal')),
)  # fmt: skip

RESPAWN_DELAY = 2.0  # s

# Exit code of a node that would fail in the same way again, for example with an unknown parameter
# (mnssd_perception.ros.spin). Humble's launch cannot limit the number of restarts.
CANNOT_START = 2


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the nodes."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text, choices=choices)
        for name, default, text, choices in ARGUMENTS
    ]
    folder = Path(get_package_share_directory(PACKAGE)) / 'config'
    profile = [f'{folder}/', LaunchConfiguration('dds_profile'), '.xml']
    is_set = any(os.environ.get(name) for name in PROFILE_VARIABLES)
    names = () if is_set else PROFILE_VARIABLES
    variables = [SetEnvironmentVariable(name, profile) for name in names]
    return LaunchDescription([*declared, *variables, OpaqueFunction(function=_nodes)])


def _nodes(context: LaunchContext) -> list:
    values = {name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS}
    _check(values)
    share = Path(get_package_share_directory(PACKAGE))
    params_file = values['params_file'] or str(share / 'config' / 'drone.param.yaml')
    defaults = {name: default for name, default, *_ in ARGUMENTS}

    def given(value_type: type, **parameters: str) -> dict[str, ParameterValue]:
        # A default argument does not override the parameter file. Without a type, launch parses
        # values as YAML: camera 0 as a number and synthetic: as a mapping.
        return {
            parameter: ParameterValue(LaunchConfiguration(argument), value_type=value_type)
            for parameter, argument in parameters.items()
            if values[argument] != defaults[argument]
        }

    time = given(bool, use_sim_time='use_sim_time')
    camera = given(str, source='camera') | given(float, rate='rate') | given(bool, loop='loop')
    names = ('bundle', 'bundle_digest', 'engine', 'precision')
    detector = given(str, **{name: name for name in names}) | given(int, threads='threads')
    has_respawn = values['respawn'] == 'true'
    camera_has_respawn = has_respawn or (values['respawn'] == 'auto' and is_live(values['camera']))

    def node(executable: str, *parameters: dict, respawn: bool, name: str | None = None) -> Node:
        # With a name our values override every section of the parameter file; a process of two
        # nodes has none.
        return Node(
            package=PACKAGE,
            executable=executable,
            name=name,
            namespace=values['namespace'],
            parameters=[params_file, time, *parameters],
            remappings=[('image', values['image'])],
            ros_arguments=['--log-level', values['log_level']],
            output='screen',
            respawn=respawn,
            respawn_delay=RESPAWN_DELAY,
            on_exit=partial(_end, respawn),
        )

    if values['composed'] == 'true':
        nodes = [node('drone_node', camera, detector, respawn=camera_has_respawn)]
    else:
        nodes = [node('detector_node', detector, respawn=has_respawn, name='detector')]
        if values['camera']:
            # The first frames of a clip wait until the detector subscribes.
            camera |= {'wait_for_subscribers': 1}
            nodes.append(node('camera_node', camera, respawn=camera_has_respawn, name='camera'))
    if values['rviz'] == 'true':
        config = str(share / 'config' / 'drone.rviz')
        viewer = {'package': 'rviz2', 'executable': 'rviz2', 'arguments': ['-d', config]}
        nodes.append(Node(namespace=values['namespace'], **viewer))
    return nodes


def _end(respawn: bool, event: ProcessExited, context: LaunchContext) -> Shutdown | None:
    """End the launch with a node, and with 1 if that one failed, unless the node is restarted."""
    if context.is_shutdown or (respawn and event.returncode != CANNOT_START):
        return None
    if event.returncode:
        raise RuntimeError(f'{event.process_name} has ended with exit code {event.returncode}')
    return Shutdown(reason=f'{event.process_name} has ended')


def _check(values: dict[str, str]) -> None:
    """Name an invalid argument; launch would only report the value."""
    for name, number_type in (('rate', float), ('threads', int)):
        try:
            number_type(values[name])
        except ValueError:
            raise RuntimeError(f"expected {name}:= as a number, got '{values[name]}'") from None
    if values['params_file'] and not Path(values['params_file']).is_file():
        raise RuntimeError(f"params_file:='{values['params_file']}' is not a file")
    if values['composed'] == 'true' and not (values['camera'] or values['params_file']):
        raise RuntimeError('composed:=true needs a camera, for example camera:=/dev/video0')
