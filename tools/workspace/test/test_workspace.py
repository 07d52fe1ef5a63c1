"""The environment of a workspace, as variables and as a script."""

from pathlib import Path
import subprocess

from mnssd_workspace.workspace import Workspace
import pytest

PACKAGES = ('vision_msgs', 'mnssd_msgs', 'mnssd_perception')
ROS = (Path('/opt/ros/jazzy'),)


def make_workspace(tmp_path: Path, ros: tuple[Path, ...] = (), **environ: str) -> Workspace:
    root = tmp_path / "a user's folder"
    for package in PACKAGES:
        (root / 'install' / package).mkdir(parents=True)
    (root / 'mnssd_perception').mkdir()
    (root / 'mnssd_perception' / 'setup.py').touch()
    workspace = Workspace(root, '3.12', ros, environ)
    (workspace.site / 'ros_rclpy.libs').mkdir(parents=True)
    workspace.python.parent.mkdir()
    return workspace


def test_later_packages_come_first(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    paths = workspace.paths()
    assert [Path(path).name for path in paths['AMENT_PREFIX_PATH']] == [
        'mnssd_perception',
        'mnssd_msgs',
        'vision_msgs',
        '.venv',
    ]
    assert paths['PYTHONPATH'][0] == str(workspace.root / 'build' / 'mnssd_perception')
    assert paths['LD_LIBRARY_PATH'][-1].endswith('ros_rclpy.libs')


def test_sourced_ros_comes_last(tmp_path: Path) -> None:
    environ = {'AMENT_PREFIX_PATH': '/opt/ros/jazzy', 'HOME': '/root', 'PYTHONHOME': '/x'}
    env = make_workspace(tmp_path, ROS, **environ).env()
    assert env['AMENT_PREFIX_PATH'].endswith('/vision_msgs:/opt/ros/jazzy')
    assert env['HOME'] == '/root'
    assert 'PYTHONHOME' not in env
    assert '_ROS_WHEELS_BOOTSTRAP_COMPLETE' not in env


def test_built_vision_msgs_does_not_hide_the_one_of_ros(tmp_path: Path) -> None:
    index = tmp_path / 'ros/share/ament_index/resource_index/packages'
    index.mkdir(parents=True)
    workspace = make_workspace(tmp_path, (tmp_path / 'ros',))
    assert workspace.messages == ['vision_msgs', 'mnssd_msgs']
    (index / 'vision_msgs').touch()
    workspace = Workspace(workspace.root, '3.12', workspace.ros, {})
    assert workspace.messages == ['mnssd_msgs']
    names = [Path(path).name for path in workspace.paths()['AMENT_PREFIX_PATH']]
    assert names == ['mnssd_perception', 'mnssd_msgs']


@pytest.mark.parametrize('ros', [(), ROS])
def test_environment_in_a_workspace_stays_the_same(tmp_path: Path, ros: tuple[Path, ...]) -> None:
    workspace = make_workspace(tmp_path, ros, PATH='/usr/bin')
    env = workspace.env()
    assert env['PATH'] == f'{workspace.venv}/bin:/usr/bin'
    assert Workspace(workspace.root, '3.12', ros, env).env() == env


@pytest.mark.parametrize('ros', [(), ROS])
def test_script_sets_the_same_environment(tmp_path: Path, ros: tuple[Path, ...]) -> None:
    environ = {'PATH': '/usr/bin:/bin', 'PYTHONPATH': '/elsewhere'}
    workspace = make_workspace(tmp_path, ros, **environ)
    shell = subprocess.run(
        ['/bin/sh', '-c', f'{workspace.activation_script()}\n/usr/bin/env -0'],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    env = dict(line.split('=', 1) for line in shell.stdout.rstrip('\0').split('\0'))
    expected = workspace.env()
    assert {name: env.get(name) for name in expected} == expected


def test_launcher_needs_no_activation(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    workspace.python.write_text('#!/bin/sh\necho "$PYTHONPATH"\nprintf "%s\\n" "$@"\n')
    workspace.python.chmod(0o755)
    workspace.write_activation()
    workspace.write_activation()
    command = [workspace.venv / 'bin/mnssd', 'train', 'a b']
    path, script, *arguments = subprocess.check_output(command, env={}, text=True).splitlines()
    assert path.split(':') == workspace.paths()['PYTHONPATH']
    assert script == str(workspace.root / 'install/mnssd_perception/lib/mnssd_perception/mnssd')
    assert arguments == ['train', 'a b']
    links = (workspace.site / 'mnssd_workspace.pth').read_text().splitlines()
    assert links == workspace.paths()['PYTHONPATH']
