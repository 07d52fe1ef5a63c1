"""What a machine can lack, and whether the words lead out of it."""

from dataclasses import replace
from pathlib import Path

from mnssd_workspace.checks import (
    check_compilers,
    check_disk,
    check_headers,
    check_python,
    check_venv_module,
)
from mnssd_workspace.errors import (
    CompilerError,
    DiskError,
    MissingVenvError,
    PythonError,
    PythonHeadersError,
    RosError,
)
from mnssd_workspace.host import find_ros, Host, Ros
import pytest

HOST = Host(
    python=Path('/usr/bin/python3'),
    version=(3, 12),
    full_version='3.12.3',
    system='Linux',
    machine='x86_64',
    include=Path('/usr/include/python3.12'),
    ros=None,
)
ROS = Ros('jazzy', (Path('/opt/ros/jazzy'),))


@pytest.mark.parametrize('version', [(3, 10), (3, 11), (3, 12), (3, 13)])
def test_these_pythons_will_do(version: tuple[int, int]) -> None:
    check_python(replace(HOST, version=version))


@pytest.mark.parametrize('version', [(3, 8), (3, 9), (3, 14)])
def test_other_pythons_name_one_that_will_do(version: tuple[int, int]) -> None:
    host = replace(HOST, version=version)
    with pytest.raises(PythonError, match=r'make setup PYTHON=python3\.12') as caught:
        check_python(host, {'python3.12': '/usr/bin/python3.12'}.get)
    assert caught.value.others == ('python3.12',)
    with pytest.raises(PythonError, match='source a ROS 2'):
        check_python(host, lambda name: None)


def test_other_machines_need_ros() -> None:
    arm = replace(HOST, machine='aarch64')
    with pytest.raises(PythonError, match='aarch64 without ROS 2'):
        check_python(arm)
    check_python(replace(arm, ros=ROS))
    check_python(replace(HOST, version=(3, 14), ros=ROS))


def test_venv_may_be_packaged_apart() -> None:
    check_venv_module(HOST)
    for missing in ('venv', 'ensurepip'):
        with pytest.raises(MissingVenvError, match=r'apt install python3\.12-venv'):
            check_venv_module(HOST, lambda name, missing=missing: name != missing or None)


def test_headers_may_be_packaged_apart(tmp_path: Path) -> None:
    with pytest.raises(PythonHeadersError, match=r'apt install python3\.12-dev'):
        check_headers(replace(HOST, include=tmp_path))
    (tmp_path / 'Python.h').touch()
    check_headers(replace(HOST, include=tmp_path))


def test_no_compiler() -> None:
    with pytest.raises(CompilerError, match='found none of cc, gcc, clang; install one') as caught:
        check_compilers({}, lambda name: None)
    assert caught.value.language == 'C'


def test_only_a_c_compiler(tmp_path: Path) -> None:
    compiler = tmp_path / 'cc'
    compiler.write_text('#!/bin/sh\nexit 0\n')
    compiler.chmod(0o755)
    with pytest.raises(CompilerError, match=r'C\+\+'):
        check_compilers({}, {'cc': str(compiler)}.get)


def test_a_compiler_that_does_not_compile(tmp_path: Path) -> None:
    compiler = tmp_path / 'cc'
    compiler.write_text('#!/bin/sh\necho "error: no cc1" >&2\nexit 1\n')
    compiler.chmod(0o755)
    with pytest.raises(CompilerError, match='error: no cc1'):
        check_compilers({'CC': str(compiler)})
    with pytest.raises(CompilerError, match='could not be run'):
        check_compilers({'CC': str(tmp_path / 'nothing')})


def test_too_small_a_disk(tmp_path: Path) -> None:
    check_disk(tmp_path, 0, training=True)
    with pytest.raises(DiskError, match='WITHOUT_TRAINING=1') as caught:
        check_disk(tmp_path, 10**18, training=True)
    assert caught.value.free < caught.value.needed
    with pytest.raises(DiskError, match='free some space, then'):
        check_disk(tmp_path, 10**18, training=False)


def test_a_sourced_ros_is_found(tmp_path: Path) -> None:
    own = tmp_path / 'install' / 'mnssd_msgs'
    environ = {'ROS_DISTRO': 'jazzy', 'AMENT_PREFIX_PATH': f'{own}:/opt/ros/jazzy'}
    assert find_ros(environ, tmp_path, rclpy_found=True) == ROS
    with pytest.raises(RosError, match='cannot import its rclpy'):
        find_ros(environ, tmp_path, rclpy_found=False)


@pytest.mark.parametrize('environ', [{}, {'ROS_DISTRO': 'jazzy'}, {'AMENT_PREFIX_PATH': '/x'}])
def test_without_a_sourced_ros_there_is_none(tmp_path: Path, environ: dict[str, str]) -> None:
    assert find_ros(environ, tmp_path, rclpy_found=False) is None


def test_packages_of_ros_are_found_in_its_index(tmp_path: Path) -> None:
    index = tmp_path / 'share/ament_index/resource_index/packages'
    index.mkdir(parents=True)
    (index / 'vision_msgs').touch()
    ros = Ros('jazzy', (Path('/nowhere'), tmp_path))
    assert ros.has_package('vision_msgs')
    assert not ros.has_package('cv_bridge')
