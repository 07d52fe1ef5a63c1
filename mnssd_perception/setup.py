"""
The perception package, installed by colcon or by pip.

On a machine with ROS, colcon runs ``develop`` or ``install`` here, and rosdep brings what
``package.xml`` names, often as Debian packages that Python's metadata does not know, such as
python3-opencv: a requirement on them would stop scripts that import ``pkg_resources``. Without
ROS, pip builds a wheel, and the wheel names its requirements.
"""

from pathlib import Path
import sys

from setuptools import find_packages, setup

NAME = 'mnssd_perception'
FOR_PIP = not {'bdist_wheel', 'dist_info', 'editable_wheel'}.isdisjoint(sys.argv)
REQUIREMENTS = [
    'numpy>=1.21',
    'onnxruntime>=1.18',
    'opencv-python-headless>=4.5.4',
    # Twice as fast as ONNX Runtime on INT8 networks; only x86-64 uses it, see docs/engines.md.
    'openvino>=2024.0; platform_machine == "x86_64" and sys_platform == "linux"',
    'pillow>=9.0',
]


def files(pattern, folder='.'):
    """
    List the files that a pattern finds.

    :param pattern: with ``**`` for folders of any depth.
    :param folder: that the pattern and the result are relative to.
    """
    found = (path.relative_to(folder) for path in Path(folder).glob(pattern) if path.is_file())
    return sorted(map(str, found))


MNSSD = 'mnssd = mnssd_perception.__main__:main'
NODES_AND_TOOLS = [  # for `ros2 run` and launch files
    'benchmark = mnssd_perception.cli.benchmark:main',
    'build_engine = mnssd_perception.cli.build_engine:main',
    'bundle = mnssd_perception.cli.bundle:main',
    'camera_node = mnssd_perception.nodes.camera_node:main',
    'demo = mnssd_perception.cli.demo:main',
    'detector_node = mnssd_perception.nodes.detector_node:main',
    'drone_node = mnssd_perception.nodes.drone_node:main',
    'recorder_node = mnssd_perception.nodes.recorder_node:main',
]

setup(
    name=NAME,
    version='0.1.0',
    description="Find objects in a drone's camera images and publish them as vision_msgs",
    license='Apache-2.0',
    maintainer='mnssd maintainers',
    maintainer_email='maintainers@mnssd.invalid',
    python_requires='>=3.10',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={NAME: ['py.typed', *files('assets/**/*', NAME)]},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
        (f'share/{NAME}/launch', files('launch/*.launch.py')),
        (f'share/{NAME}/config', files('config/*')),
        # colcon puts `bin` on the PATH, where it leads to the script of the workspace's Python;
        # pip writes that script there itself.
        *([] if FOR_PIP else [('bin', ['scripts/mnssd'])]),
    ],
    install_requires=REQUIREMENTS if FOR_PIP else ['setuptools'],
    extras_require={'test': ['pytest']},
    zip_safe=False,
    entry_points={'console_scripts': [MNSSD, *([] if FOR_PIP else NODES_AND_TOOLS)]},
)
