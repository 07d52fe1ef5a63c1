"""Launches camera and detector: ``ros2 launch mnssd_perception drone.launch.py camera:=0``."""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node, SetParameter

PACKAGE = 'mnssd_perception'
PROFILES = 'FASTDDS_DEFAULT_PROFILES_FILE'

ARGUMENTS = (
    ('camera', '', 'a folder of images, a video file, /dev/video0, rtsp://..., gst:<pipeline> or '
     'synthetic:; empty where another node publishes the images', None),
    ('image', 'image', 'topic of the images', None),
    ('rate', '0.0', "frames a second; 0 for the camera's own", None),
    ('loop', 'false', 'whether a folder or a video starts over', ('true', 'false')),
    ('bundle', '', 'path of the model bundle; empty for the one that is shipped', None),
    ('engine', 'auto', 'inference engine', ('auto', 'onnxruntime')),
    ('params_file', '', 'parameter file; empty for config/drone.param.yaml', None),
    ('namespace', '', 'namespace of all nodes', None),
    ('composed', 'false', 'camera and detector in one process', ('true', 'false')),
    ('rviz', 'false', 'show the overlay in rviz2', ('true', 'false')),
    ('use_sim_time', 'false', 'take the time from /clock', ('true', 'false')),
    ('log_level', 'info', 'least severity that is logged',
     ('debug', 'info', 'warn', 'error', 'fatal')),
)  # fmt: skip


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the nodes that they ask for."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text, choices=choices)
        for name, default, text, choices in ARGUMENTS
    ]
    profiles = str(Path(get_package_share_directory(PACKAGE)) / 'config' / 'fastdds.xml')
    own = [] if PROFILES in os.environ else [SetEnvironmentVariable(PROFILES, profiles)]
    return LaunchDescription([*declared, *own, OpaqueFunction(function=_nodes)])


def _nodes(context: LaunchContext) -> list:
    """Choose the nodes."""
    values = {name: LaunchConfiguration(name).perform(context) for name, *_ in ARGUMENTS}
    share = Path(get_package_share_directory(PACKAGE))
    params_file = values['params_file'] or str(share / 'config' / 'drone.param.yaml')
    camera = {
        'source': values['camera'],
        'rate': float(values['rate']),
        'loop': values['loop'] == 'true',
    }
    # An argument that was left alone leaves the parameter file's value alone.
    detector = {
        name: values[name] for name, default in (('bundle', ''), ('engine', 'auto'))
        if values[name] != default
    }  # fmt: skip

    def node(executable: str, **arguments: object) -> Node:
        return Node(
            package=PACKAGE,
            executable=executable,
            namespace=values['namespace'],
            remappings=[('image', values['image'])],
            ros_arguments=['--log-level', values['log_level']],
            output='screen',
            on_exit=Shutdown(reason=f'{executable} has ended'),
            **arguments,
        )

    nodes = [SetParameter('use_sim_time', values['use_sim_time'] == 'true')]
    if values['composed'] == 'true':
        nodes.append(node('drone_node', parameters=[params_file, camera, detector]))
    else:
        nodes.append(node('detector_node', parameters=[params_file, detector]))
        if values['camera']:
            nodes.append(node('camera_node', parameters=[params_file, camera]))
    if values['rviz'] == 'true':
        config = str(share / 'config' / 'drone.rviz')
        nodes.append(
            Node(
                package='rviz2',
                executable='rviz2',
                namespace=values['namespace'],
                arguments=['-d', config],
            )
        )
    return nodes
