"""Launches camera and detector: ``ros2 launch mnssd_perception drone.launch.py camera:=0``."""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from mnssd_perception.sources import is_live

PACKAGE = 'mnssd_perception'

# Fast DDS 3 (Kilted and later) and Fast DDS 2 (Humble, Jazzy); each reads one of them only.
PROFILES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')

ARGUMENTS = (
    ('camera', '', 'a folder of images, a video file, /dev/video0, rtsp://..., gst:<pipeline> or '
     'synthetic:; empty where another node publishes the images', None),
    ('image', 'image', 'topic of the images', None),
    ('rate', '0.0', "frames a second; 0 for the camera's own", None),
    ('loop', 'false', 'whether a folder or a video starts over', ('true', 'false')),
    ('bundle', '', 'path of the model bundle; empty for the one that is shipped', None),
    ('bundle_digest', '', 'sha256:... that the bundle must have; empty for any', None),
    ('engine', 'auto', 'inference engine', ('auto', 'onnxruntime')),
    ('params_file', '', 'parameter file; empty for config/drone.param.yaml', None),
    ('namespace', '', 'namespace of all nodes', None),
    ('composed', 'false', 'camera and detector in one process', ('true', 'false')),
    ('respawn', 'auto', 'which nodes are started again when they end: auto for a camera that is a '
     'device or a stream, true for all, false for none', ('auto', 'true', 'false')),
    ('dds_profile', 'fastdds', 'shared memory for raw images: fastdds up to 1080p, fastdds_4k '
     'beyond', ('fastdds', 'fastdds_4k')),
    ('rviz', 'false', 'show the overlay in rviz2', ('true', 'false')),
    ('use_sim_time', 'false', 'take the time from /clock', ('true', 'false')),
    ('log_level', 'info', 'least severity that is logged',
     ('debug', 'info', 'warn', 'error', 'fatal')),
)  # fmt: skip

# A node that fails at once, as with a wrong parameter, must not fill the log [s].
RESPAWN_DELAY = 2.0


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the nodes that they ask for."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text, choices=choices)
        for name, default, text, choices in ARGUMENTS
    ]
    folder = Path(get_package_share_directory(PACKAGE)) / 'config'
    profile = [f'{folder}/', LaunchConfiguration('dds_profile'), '.xml']
    is_chosen = any(os.environ.get(name) for name in PROFILES)
    own = [] if is_chosen else [SetEnvironmentVariable(name, profile) for name in PROFILES]
    return LaunchDescription([*declared, *own, OpaqueFunction(function=_nodes)])


def _nodes(context: LaunchContext) -> list:
    """Choose the nodes."""
    values = {name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS}
    _check(values)
    share = Path(get_package_share_directory(PACKAGE))
    params_file = values['params_file'] or str(share / 'config' / 'drone.param.yaml')
    defaults = {name: default for name, default, *_ in ARGUMENTS}

    def given(kind: type, **parameters: str) -> dict[str, ParameterValue]:
        # An argument that was left alone leaves the parameter file's value alone. Without a type,
        # launch reads values as YAML: camera 0 as a number and synthetic: as a mapping.
        return {
            parameter: ParameterValue(LaunchConfiguration(argument), value_type=kind)
            for parameter, argument in parameters.items()
            if values[argument] != defaults[argument]
        }

    time = given(bool, use_sim_time='use_sim_time')
    camera = {
        **given(str, source='camera'),
        **given(float, rate='rate'),
        **given(bool, loop='loop'),
    }
    detector = given(str, bundle='bundle', bundle_digest='bundle_digest', engine='engine')
    has_respawn = values['respawn'] == 'true'
    camera_has_respawn = has_respawn or (values['respawn'] == 'auto' and is_live(values['camera']))

    def node(executable: str, *parameters: dict, respawn: bool, name: str | None = None) -> Node:
        # A name, where there is one node, makes our values stronger than any section of the file.
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
            on_exit=None if respawn else _end,
        )

    if values['composed'] == 'true':
        nodes = [node('drone_node', camera, detector, respawn=camera_has_respawn)]
    else:
        nodes = [node('detector_node', detector, respawn=has_respawn, name='detector')]
        if values['camera']:
            # The first frames of a clip wait until the detector listens.
            camera |= {'wait_for_subscribers': 1}
            nodes.append(node('camera_node', camera, respawn=camera_has_respawn, name='camera'))
    if values['rviz'] == 'true':
        config = str(share / 'config' / 'drone.rviz')
        viewer = {'package': 'rviz2', 'executable': 'rviz2', 'arguments': ['-d', config]}
        nodes.append(Node(namespace=values['namespace'], **viewer))
    return nodes


def _end(event: ProcessExited, context: LaunchContext) -> Shutdown | None:
    """End the other nodes with one that has ended, and launch with 1 if that one failed."""
    if context.is_shutdown:
        return None
    if event.returncode:
        raise RuntimeError(f'{event.process_name} has ended with exit code {event.returncode}')
    return Shutdown(reason=f'{event.process_name} has ended')


def _check(values: dict[str, str]) -> None:
    """Name the argument that is wrong, before launch complains of a number."""
    try:
        float(values['rate'])
    except ValueError:
        raise RuntimeError(f"expected rate:= as a number, got '{values['rate']}'") from None
    if values['params_file'] and not Path(values['params_file']).is_file():
        raise RuntimeError(f"params_file:='{values['params_file']}' is not a file")
    if values['composed'] == 'true' and not (values['camera'] or values['params_file']):
        raise RuntimeError('composed:=true needs a camera, for example camera:=/dev/video0')
