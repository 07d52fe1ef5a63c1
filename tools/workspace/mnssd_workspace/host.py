"""This machine, as far as a workspace depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import importlib.util
from pathlib import Path
import platform
import sys
import sysconfig

from mnssd_workspace.errors import RosError

__all__ = ['Host', 'Ros', 'find_ros', 'this_host']


@dataclass(frozen=True)
class Ros:
    """
    Describe a sourced ROS 2.

    :param distro: for example ``jazzy``.
    :param prefixes: its AMENT_PREFIX_PATH, without this workspace's own.
    """

    distro: str
    prefixes: tuple[Path, ...]

    def has_package(self, name: str) -> bool:
        """
        Say whether a package is installed in it.

        :param name: of the package.
        """
        index = Path('share/ament_index/resource_index/packages')
        return any((prefix / index / name).exists() for prefix in self.prefixes)


@dataclass(frozen=True)
class Host:
    """
    Describe the machine and the Python that runs.

    :param python: the base interpreter, not one of a virtual environment.
    :param version: of Python, (major, minor).
    :param full_version: of Python, with everything.
    :param system: for example ``Linux``.
    :param machine: for example ``x86_64``.
    :param include: the folder that should hold Python.h.
    :param ros: the sourced ROS 2, if there is one.
    """

    python: Path
    version: tuple[int, int]
    full_version: str
    system: str
    machine: str
    include: Path
    ros: Ros | None

    @property
    def dotted(self) -> str:
        """Return the version of Python, for example ``3.12``."""
        return f'{self.version[0]}.{self.version[1]}'


def find_ros(environ: Mapping[str, str], root: Path, *, rclpy_found: bool) -> Ros | None:
    """
    Find the ROS 2 that a shell has sourced.

    :param environ: the environment variables.
    :param root: of the repository; what was installed under it is no ROS 2.
    :param rclpy_found: whether this Python can import rclpy.
    :return: None where none is sourced.
    :raises RosError: if one is sourced that this Python cannot use.
    """
    distro = environ.get('ROS_DISTRO', '')
    paths = [Path(path) for path in environ.get('AMENT_PREFIX_PATH', '').split(':') if path]
    prefixes = tuple(path for path in paths if not path.is_relative_to(root))
    if not distro or not prefixes:
        return None
    if not rclpy_found:
        raise RosError(
            f'ROS 2 {distro} is sourced, but {sys.executable} cannot import its rclpy; use the '
            'Python that it was built for (often `make setup PYTHON=/usr/bin/python3`), install '
            f'`ros-{distro}-rclpy`, or start a shell that does not source ROS 2'
        )
    return Ros(distro, prefixes)


def this_host(environ: Mapping[str, str], root: Path) -> Host:
    """
    Describe this machine.

    :param environ: the environment variables.
    :param root: of the repository.
    """
    found = importlib.util.find_spec('rclpy') is not None
    return Host(
        # Resolved: inside a virtual environment this is the Python that it was made from.
        python=Path(sys.executable).resolve(),
        version=(sys.version_info[0], sys.version_info[1]),
        full_version=sys.version,
        system=platform.system(),
        machine=platform.machine(),
        include=Path(sysconfig.get_config_var('INCLUDEPY')),
        ros=find_ros(environ, root, rclpy_found=found),
    )
