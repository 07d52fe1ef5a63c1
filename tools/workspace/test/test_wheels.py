"""What pip is asked for, half installed distributions, and CMake files of another machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnssd_workspace import wheels
from mnssd_workspace.layout import Layout
from mnssd_workspace.pins import Pin
from mnssd_workspace.wheel_patches import patch_cmake_files, patch_text
from mnssd_workspace.wheels import remove_half_installed
import pytest

BUILT = (
    'set_target_properties(x PROPERTIES INTERFACE_INCLUDE_DIRECTORIES '
    '"${_IMPORT_PREFIX}/include/x;/opt/python/cp311-cp311/include/python3.11;'
    '/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include")\n'
)
PATCHED = (
    'set_target_properties(x PROPERTIES INTERFACE_INCLUDE_DIRECTORIES '
    '"${_IMPORT_PREFIX}/include/x;/usr/include/python3.11;/home/\\1/site/numpy/_core/include")\n'
)
INCLUDE = Path('/usr/include/python3.11')
SITE = Path('/home/\\1/site')


def test_without_record_it_is_half_installed(tmp_path: Path) -> None:
    whole, half = tmp_path / 'whole-1.dist-info', tmp_path / 'half-1.dist-info'
    for folder in (whole, half, tmp_path / '~alf', tmp_path / 'half'):
        folder.mkdir()
    (whole / 'RECORD').touch()
    (half / 'METADATA').touch()
    assert remove_half_installed(tmp_path) == ['half-1.dist-info', '~alf']
    assert sorted(path.name for path in tmp_path.iterdir()) == ['half', 'whole-1.dist-info']
    assert remove_half_installed(tmp_path) == []


def test_pip_installs_nothing_without_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[str], str]] = []

    def run_logged(name: str, command: Sequence[Any], **_: Any) -> None:
        asked.append(([str(word) for word in command], Path(command[-1]).read_text()))

    monkeypatch.setattr(wheels, 'run_logged', run_logged)
    pins = [Pin(name, f'{name}==1', ('sha256:0',)) for name in ('numpy', 'setuptools')]
    wheels.install_pins('base', pins, Layout(tmp_path), {}, verbose=False)
    assert [text for _, text in asked] == [
        'setuptools==1 --hash=sha256:0\n',
        'numpy==1 --hash=sha256:0\n',
    ]
    assert all('--require-hashes' in command for command, _ in asked)


def test_folders_of_the_build_machine_are_replaced() -> None:
    assert patch_text(BUILT, INCLUDE, SITE) == PATCHED


@pytest.mark.parametrize('text', ['', PATCHED, 'set(x "/opt/ros/jazzy/include/rcl")\n'])
def test_other_text_stays(text: str) -> None:
    assert patch_text(text, INCLUDE, SITE) == text


def test_patching_twice_is_patching_once(tmp_path: Path) -> None:
    path = tmp_path / 'std_msgs' / 'cmake' / 'export.cmake'
    path.parent.mkdir(parents=True)
    path.write_text(BUILT)
    assert patch_cmake_files(tmp_path, INCLUDE, SITE) == 1
    assert path.read_text() == PATCHED
    assert patch_cmake_files(tmp_path, INCLUDE, SITE) == 0
    assert [file.name for file in path.parent.iterdir()] == ['export.cmake']
