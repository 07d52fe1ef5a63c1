"""The environment of a workspace, as variables and as a script."""

from pathlib import Path
import subprocess

from mnssd_workspace.environment import (
    activation_script,
    launcher_script,
    prepended_paths,
    workspace_environment,
)
from mnssd_workspace.layout import Layout
import pytest

PACKAGES = ('vision_msgs', 'mnssd_msgs', 'mnssd_perception')


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    root = tmp_path / "a user's folder"
    (root / 'mnssd_perception').mkdir(parents=True)
    (root / 'mnssd_perception' / 'setup.py').touch()
    (root / '.venv/lib/python3.12/site-packages/ros_rclpy.libs').mkdir(parents=True)
    return Layout(root)


def test_later_packages_come_first(layout: Layout) -> None:
    paths = prepended_paths(layout, PACKAGES, '3.12', wheels=True)
    assert [path.name for path in paths['AMENT_PREFIX_PATH']] == [
        'mnssd_perception',
        'mnssd_msgs',
        'vision_msgs',
        '.venv',
    ]
    assert paths['PYTHONPATH'][0] == layout.build / 'mnssd_perception'
    assert paths['LD_LIBRARY_PATH'][-1].name == 'ros_rclpy.libs'


def test_a_sourced_ros_keeps_its_place(layout: Layout) -> None:
    paths = prepended_paths(layout, PACKAGES, '3.12', wheels=False)
    environ = {'AMENT_PREFIX_PATH': '/opt/ros/jazzy', 'HOME': '/root', 'PYTHONHOME': '/x'}
    env = workspace_environment(environ, layout, paths, wheels=False)
    assert env['AMENT_PREFIX_PATH'].endswith('/vision_msgs:/opt/ros/jazzy')
    assert env['HOME'] == '/root'
    assert 'PYTHONHOME' not in env
    assert '_ROS_WHEELS_BOOTSTRAP_COMPLETE' not in env


@pytest.mark.parametrize('wheels', [True, False])
def test_twice_is_once(layout: Layout, *, wheels: bool) -> None:
    paths = prepended_paths(layout, PACKAGES, '3.12', wheels=wheels)
    once = workspace_environment({'PATH': '/usr/bin'}, layout, paths, wheels=wheels)
    assert workspace_environment(once, layout, paths, wheels=wheels) == once
    assert once['PATH'] == f'{layout.venv}/bin:/usr/bin'


@pytest.mark.parametrize('wheels', [True, False])
def test_the_script_says_the_same(layout: Layout, *, wheels: bool) -> None:
    paths = prepended_paths(layout, PACKAGES, '3.12', wheels=wheels)
    environ = {'PATH': '/usr/bin:/bin', 'PYTHONPATH': '/elsewhere'}
    script = activation_script(layout, paths, wheels=wheels)
    shell = subprocess.run(
        ['/bin/sh', '-c', f'{script}\n/usr/bin/env -0'],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    got = dict(line.split('=', 1) for line in shell.stdout.rstrip('\0').split('\0'))
    wanted = workspace_environment(environ, layout, paths, wheels=wheels)
    assert {name: got.get(name) for name in wanted} == wanted


def test_the_launcher_needs_no_sourced_script(layout: Layout, tmp_path: Path) -> None:
    paths = prepended_paths(layout, PACKAGES, '3.12', wheels=True)
    layout.activation.write_text(activation_script(layout, paths, wheels=True))
    layout.python.parent.mkdir()
    layout.python.write_text('#!/bin/sh\necho "$PYTHONPATH"\nprintf "%s\\n" "$@"\n')
    layout.python.chmod(0o755)
    layout.launcher.write_text(launcher_script(layout))
    layout.launcher.chmod(0o755)
    command = [layout.launcher, 'train', 'a b']
    told = subprocess.check_output(command, env={}, cwd=tmp_path, text=True)
    path, script, *arguments = told.splitlines()
    assert path == ':'.join(map(str, paths['PYTHONPATH']))
    assert script == str(layout.install / 'mnssd_perception/lib/mnssd_perception/mnssd')
    assert arguments == ['train', 'a b']
