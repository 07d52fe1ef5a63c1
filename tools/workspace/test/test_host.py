"""What a machine can lack, and the advice of the messages."""

from collections.abc import Callable
from pathlib import Path
import shutil
from typing import Any

from mnssd_workspace.host import (
    check_compilers,
    check_disk,
    check_headers,
    check_python,
    check_venv_module,
    find_ros,
    WorkspaceError,
)
import pytest


def check(
    version: tuple[int, int],
    machine: str = 'x86_64',
    *,
    has_ros: bool = False,
    which: Callable[[str], Any] = shutil.which,
) -> None:
    check_python(version, ('Linux', machine), has_ros=has_ros, which=which)


@pytest.mark.parametrize('version', [(3, 10), (3, 11), (3, 12), (3, 13)])
def test_supported_python_is_accepted(version: tuple[int, int]) -> None:
    check(version)


@pytest.mark.parametrize('version', [(3, 8), (3, 9), (3, 14)])
def test_unsupported_python_is_refused_with_an_installed_one(version: tuple[int, int]) -> None:
    with pytest.raises(WorkspaceError, match=r'make setup PYTHON=python3\.12'):
        check(version, which={'python3.12': '/usr/bin/python3.12'}.get)
    with pytest.raises(WorkspaceError, match='source a ROS 2'):
        check(version, which=lambda name: None)


def test_machine_without_wheels_needs_ros() -> None:
    with pytest.raises(WorkspaceError, match='got Linux on aarch64; install a ROS 2'):
        check((3, 12), 'aarch64')
    check((3, 12), 'aarch64', has_ros=True)
    check((3, 14), has_ros=True)


def test_missing_venv_module_names_its_package() -> None:
    check_venv_module('3.12')
    for missing in ('venv', 'ensurepip'):
        with pytest.raises(WorkspaceError, match=r'apt install python3\.12-venv'):
            check_venv_module('3.12', lambda name, missing=missing: name != missing or None)


def test_missing_headers_name_their_package(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r'apt install python3\.12-dev'):
        check_headers(tmp_path, '3.12')
    (tmp_path / 'Python.h').touch()
    check_headers(tmp_path, '3.12')


def write_compiler(path: Path, script: str) -> Path:
    path.write_text(f'#!/bin/sh\n{script}\n')
    path.chmod(0o755)
    return path


def test_working_compilers_are_accepted(tmp_path: Path) -> None:
    compiler = str(write_compiler(tmp_path / 'cc', 'exit 0'))
    check_compilers({'CC': compiler, 'CXX': f'{compiler} -Os'})


def test_missing_compiler_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match='C compiler, cc could not be run .*; install one'):
        check_compilers({'PATH': str(tmp_path / 'empty')}, lambda name: None)
    compiler = write_compiler(tmp_path / 'cc', 'exit 0')
    with pytest.raises(WorkspaceError, match=r'C\+\+ compiler, .*apt install g\+\+'):
        check_compilers({'CC': str(compiler), 'CXX': str(tmp_path / 'none')})


def test_compiler_that_does_not_compile_is_refused(tmp_path: Path) -> None:
    compiler = write_compiler(tmp_path / 'cc', 'echo "error: no cc1" >&2; exit 1')
    with pytest.raises(WorkspaceError, match='error: no cc1'):
        check_compilers({'CC': str(compiler)})


def test_disk_that_is_too_small_is_refused(tmp_path: Path) -> None:
    check_disk(tmp_path, 0, training=True)
    with pytest.raises(WorkspaceError, match='WITHOUT_TRAINING=1'):
        check_disk(tmp_path, 10**18, training=True)
    with pytest.raises(WorkspaceError, match='expected 1000000000.0 GB .* free some space, then'):
        check_disk(tmp_path, 10**18, training=False)


def test_sourced_ros_is_found(tmp_path: Path) -> None:
    built = tmp_path / 'install' / 'mnssd_msgs'
    environ = {'ROS_DISTRO': 'jazzy', 'AMENT_PREFIX_PATH': f'{built}:/opt/ros/jazzy'}
    assert find_ros(environ, tmp_path, has_rclpy=True) == (Path('/opt/ros/jazzy'),)
    with pytest.raises(WorkspaceError, match='cannot import its rclpy'):
        find_ros(environ, tmp_path, has_rclpy=False)


@pytest.mark.parametrize('environ', [{}, {'ROS_DISTRO': 'jazzy'}, {'AMENT_PREFIX_PATH': '/x'}])
def test_ros_that_is_not_sourced_is_not_found(tmp_path: Path, environ: dict[str, str]) -> None:
    assert find_ros(environ, tmp_path, has_rclpy=False) == ()
