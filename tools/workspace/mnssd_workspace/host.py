"""Check that this machine has what a workspace needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import importlib.util
import os
from pathlib import Path
import shlex
import shutil
import subprocess
import sys

_OLDEST, _NEWEST = (3, 10), (3, 13)
# Language -> variable that chooses the compiler, usual names, a header.
_COMPILERS = {
    'C': ('CC', ('cc', 'gcc', 'clang'), 'stddef.h'),
    'C++': ('CXX', ('c++', 'g++', 'clang++'), 'cstddef'),
}


class WorkspaceError(Exception):
    """Report why a workspace cannot be made or used, and how to fix that."""


def find_ros(environ: Mapping[str, str], root: Path, *, has_rclpy: bool) -> tuple[Path, ...]:
    """
    Return the AMENT_PREFIX_PATH of the ROS 2 that a shell has sourced, or nothing.

    :param root: of the repository: packages installed below it do not count.
    """
    distro = environ.get('ROS_DISTRO', '')
    paths = map(Path, filter(None, environ.get('AMENT_PREFIX_PATH', '').split(':')))
    prefixes = tuple(path for path in paths if not path.is_relative_to(root))
    if not distro or not prefixes:
        return ()
    if not has_rclpy:
        raise WorkspaceError(
            f'ROS 2 {distro} is sourced, but {sys.executable} cannot import its rclpy; use the '
            'Python that it was built for (often `make setup PYTHON=/usr/bin/python3`), install '
            f'`ros-{distro}-rclpy`, or start a shell that does not source ROS 2'
        )
    return prefixes


def check_python(
    version: tuple[int, int],
    platform: tuple[str, str],
    *,
    has_ros: bool,
    which: Callable[[str], str | None] = shutil.which,
) -> None:
    """Check that ROS 2 is sourced or comes as wheels for this Python and (system, machine)."""
    if version < _OLDEST or (version > _NEWEST and not has_ros):
        names = [f'python3.{minor}' for minor in range(_NEWEST[1], _OLDEST[1] - 1, -1)]
        hint = 'install one, or source a ROS 2 and use its python3'
        if installed := [name for name in names if which(name)]:
            hint = f'{installed[0]} is installed: use it with `make setup PYTHON={installed[0]}`'
        raise WorkspaceError(
            f'expected Python 3.{_OLDEST[1]} to 3.{_NEWEST[1]}, got '
            f'{version[0]}.{version[1]} ({sys.executable}); {hint}'
        )
    if not has_ros and platform != ('Linux', 'x86_64'):
        raise WorkspaceError(
            'expected Linux on x86_64, for which ROS 2 comes as Python wheels, got '
            f'{" on ".join(platform)}; install a ROS 2 there and source it'
        )


def check_venv_module(
    version: str, find_spec: Callable[[str], object] = importlib.util.find_spec
) -> None:
    """Check that Python can make virtual environments, which Debian packages separately."""
    if find_spec('venv') is None or find_spec('ensurepip') is None:
        raise WorkspaceError(
            f'python{version} has no complete venv module; on Debian and Ubuntu install it with '
            f'`sudo apt install python{version}-venv`'
        )


def check_headers(include: Path, version: str) -> None:
    """Check that Python.h is there, with which message packages are compiled."""
    if not (include / 'Python.h').is_file():
        raise WorkspaceError(
            f'expected Python.h in {include}, which compiling the messages needs; on Debian and '
            f'Ubuntu install it with `sudo apt install python{version}-dev`'
        )


def check_compilers(
    environ: Mapping[str, str], which: Callable[[str], str | None] = shutil.which
) -> None:
    """Check that the C and the C++ compiler compile and link a program."""
    for language, (variable, names, header) in _COMPILERS.items():
        installed = [name for name in names if which(name)] or [*names]
        command = shlex.split(environ.get(variable, '')) or installed[:1]
        program = f'#include <{header}>\nint main() {{ return 0; }}\n'.encode()
        argv = [*command, '-x', language.lower(), '-', '-o', os.devnull]
        try:
            subprocess.run(argv, input=program, env={**environ}, capture_output=True, check=True)
            continue
        except OSError as error:
            reason = f'{command[0]} could not be run ({error.strerror})'
        except subprocess.CalledProcessError as error:
            lines = (error.stderr or error.stdout).decode(errors='replace').splitlines()
            reason = f'{command[0]} does not compile an empty program ({"".join(lines[-1:])})'
        raise WorkspaceError(
            f'expected a working {language} compiler, {reason}; install one (on Debian and '
            'Ubuntu `sudo apt install g++`) or name yours in CC and CXX'
        )


def check_disk(folder: Path, num_bytes: int, *, training: bool) -> None:
    """Check the free space of the disk of a folder, for a setup with or without training."""
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        hint = ', or leave training out with `make setup WITHOUT_TRAINING=1`' if training else ''
        raise WorkspaceError(
            f'expected {num_bytes / 1e9:.1f} GB free in {folder}, got {free / 1e9:.1f} GB; free '
            f'some space{hint}, then run it again'
        )
