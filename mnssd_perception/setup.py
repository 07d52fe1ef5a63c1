"""The perception package as colcon installs it."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = 'mnssd_perception'


def files(pattern, folder='.'):
    """
    List the files that a pattern finds.

    :param pattern: with ``**`` for folders of any depth.
    :param folder: that the pattern and the result are relative to.
    """
    found = (path.relative_to(folder) for path in Path(folder).glob(pattern) if path.is_file())
    return sorted(map(str, found))


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
    ],
    install_requires=['setuptools'],
    extras_require={'test': ['pytest']},
    zip_safe=False,
    entry_points={
        'console_scripts': [
            'benchmark_transport = mnssd_perception.cli.benchmark_transport:main',
            'camera_node = mnssd_perception.nodes.camera_node:main',
            'demo = mnssd_perception.cli.demo:main',
            'detector_node = mnssd_perception.nodes.detector_node:main',
            'drone_node = mnssd_perception.nodes.drone_node:main',
            'recorder_node = mnssd_perception.nodes.recorder_node:main',
        ],
    },
)
