"""What the setup scripts declare to colcon and to pip."""

import ast
from functools import cache
import json
from pathlib import Path
import subprocess
import sys
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ('mnssd_perception', 'mnssd_training')
SCRIPT = """
import json, runpy, setuptools, sys
for command in sys.argv[1:]:
    sys.argv = ['setup.py', command]
    setuptools.setup = lambda **declared: print(json.dumps(declared))
    runpy.run_path('setup.py')
"""
COLCON = ('--dry-run', 'develop', 'install', 'egg_info')
WITH_ROS = ('cli', 'nodes', 'ros')
DISTRIBUTIONS = {'cv2': 'opencv-python-headless', 'PIL': 'pillow'}  # others are called as imported
WITH_HARDWARE = {'hailo_platform', 'tensorrt'}  # come with a driver, not from PyPI
PIP = ('dist_info', 'bdist_wheel', 'editable_wheel')


@cache
def everything_declared(package: str) -> dict[str, dict[str, Any]]:
    """Run a setup script with each command, without setting up."""
    told = subprocess.check_output(
        [sys.executable, '-c', SCRIPT, *COLCON, *PIP], cwd=ROOT / package, text=True
    )
    return dict(zip((*COLCON, *PIP), map(json.loads, told.splitlines())))


def declared(package: str, command: str) -> dict[str, Any]:
    """Tell what a setup script declares to one command."""
    return everything_declared(package)[command]


@pytest.mark.parametrize('package', PACKAGES)
@pytest.mark.parametrize('command', COLCON)
def test_colcon_leaves_requirements_to_rosdep(package: str, command: str) -> None:
    """A script that imports pkg_resources would stop where apt has installed OpenCV."""
    assert declared(package, command)['install_requires'] == ['setuptools']


@pytest.mark.parametrize('package', PACKAGES)
@pytest.mark.parametrize('command', PIP)
def test_wheels_name_their_requirements(package: str, command: str) -> None:
    requirements = declared(package, command)['install_requires']
    assert {'numpy', 'opencv-python-headless'} <= {one.split('>')[0] for one in requirements}


def imported_by(path: Path) -> set[str]:
    """List the packages that a file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition('.')[0] for name in names}


def test_the_wheel_requires_what_it_imports_without_ros() -> None:
    folder = ROOT / 'mnssd_perception' / 'mnssd_perception'
    found = {
        name
        for path in folder.rglob('*.py')
        if path.relative_to(folder).parts[0] not in WITH_ROS
        for name in imported_by(path)
    }
    foreign = found - sys.stdlib_module_names - {'mnssd_perception'} - WITH_HARDWARE
    requirements = declared('mnssd_perception', 'bdist_wheel')['install_requires']
    required = {one.split('>')[0] for one in requirements}
    assert {DISTRIBUTIONS.get(name, name) for name in foreign} == required


def test_both_wheels_require_the_same_versions() -> None:
    one, other = (set(declared(name, 'bdist_wheel')['install_requires']) for name in PACKAGES)
    # Which training gets with perception.
    assert {name.split('>')[0] for name in one - other} == {'onnxruntime', 'openvino'}


def test_pip_adds_no_common_word_to_the_path() -> None:
    scripts = [
        script
        for package in PACKAGES
        for script in declared(package, 'bdist_wheel')['entry_points']['console_scripts']
    ]
    assert scripts == ['mnssd = mnssd_perception.__main__:main']


def test_colcon_puts_mnssd_on_the_path() -> None:
    files = dict(declared('mnssd_perception', 'develop')['data_files'])
    assert files['bin'] == ['scripts/mnssd']
    assert 'bin' not in dict(declared('mnssd_perception', 'bdist_wheel')['data_files'])


def test_the_script_on_the_path_runs_the_one_of_the_workspace(tmp_path: Path) -> None:
    real = tmp_path / 'an install' / 'lib' / 'mnssd_perception' / 'mnssd'
    link = tmp_path / 'an install' / 'bin' / 'mnssd'  # as colcon build --symlink-install has it
    for path in (real, link):
        path.parent.mkdir(parents=True)
    real.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    real.chmod(0o755)
    link.symlink_to(ROOT / 'mnssd_perception' / 'scripts' / 'mnssd')
    told = subprocess.check_output([link, 'train', 'a b'], cwd=tmp_path, text=True)
    assert told == 'train\na b\n'
