"""Pinned requirements, half installed distributions, and CMake files of another machine."""

from pathlib import Path
import re
from types import SimpleNamespace
from typing import Any

from mnssd_workspace import install
from mnssd_workspace.host import WorkspaceError
from mnssd_workspace.install import (
    LOCK,
    make_venv,
    missing_requirements,
    patch_cmake_files,
    read_requirements,
    remove_half_installed,
    TOOLS,
    uv_settings,
)
from mnssd_workspace.workspace import Workspace
import pytest

GROUPS = ('system', 'ros', 'runtime', 'develop', 'training')
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


def test_every_requirement_is_an_exact_pin_in_one_group() -> None:
    files = sorted(path.stem for path in (TOOLS / 'requirements').glob('*'))
    assert files == sorted(GROUPS)
    lines = read_requirements(*GROUPS)
    pattern = r"[a-z0-9]+(-[a-z0-9]+)*==[^\s;]+( ; \w+ [<>=]+ '[^']+'( and .+)?)?"
    assert [line for line in lines if not re.fullmatch(pattern, line)] == []
    unconditional = [line for line in lines if ';' not in line]
    assert len({line.partition('==')[0] for line in unconditional}) == len(unconditional)


def test_lock_holds_exactly_what_is_pinned() -> None:
    locked = re.findall(
        r'^([^\s#=]+==[^\s;\\]+).*\\\n +--hash=sha256:\w{64}', LOCK.read_text(), re.M
    )
    pinned = [line.partition(';')[0].strip() for line in read_requirements(*GROUPS)]
    assert sorted(set(locked)) == sorted(set(pinned))


def test_torch_is_in_training_alone() -> None:
    names = ('torch==', 'torchvision==', 'nvidia-')
    groups = [
        name for name in GROUPS for line in read_requirements(name) if line.startswith(names)
    ]
    assert set(groups) == {'training'}


class Recorder(Workspace):
    """A workspace that records commands instead of running them."""

    output = ''

    def run(self, log: str, command: Any, **env: str) -> str:
        self.commands = [*getattr(self, 'commands', []), [str(word) for word in command]]
        self.variables = env
        return self.output


@pytest.fixture
def workspace(tmp_path: Path) -> Recorder:
    workspace = Recorder(tmp_path, '3.12', (), {})
    workspace.venv.mkdir()
    return workspace


def test_nothing_is_installed_without_its_hash(
    workspace: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SimpleNamespace(stdout="global.no-index='1'\nglobal.cert='/a b.crt'\n")
    monkeypatch.setattr('subprocess.run', lambda *_, **__: config)
    install.install_uv(workspace)
    requirements = Path(workspace.commands[0][-1]).read_text()
    assert re.match(r'uv==[\d.]+ \\\n +--hash=sha256:', requirements)
    install.install(['numpy==1', 'setuptools==2'], workspace)
    assert all('--require-hashes' in command for command in workspace.commands)
    assert [command[command.index('--no-index') :] for command in workspace.commands[1:]] == [
        ['--no-index', 'setuptools==2'],
        ['--no-index', 'numpy==1', 'setuptools==2'],
    ]
    assert workspace.variables == {'SSL_CERT_FILE': '/a b.crt'}


def test_settings_of_pip_are_passed_to_uv() -> None:
    config = (
        ":env:.cert='/a b.crt'\n:env:.default-timeout='180'\nglobal.no-index='false'\n"
        "global.index-url='https://user:secret@host/simple'\n"
        "global.extra-index-url='\\nhttps://a/simple\\nhttps://b/simple'\n"
        "install.find-links='/wheels /more'\n:env:.disable-pip-version-check='1'\n"
    )
    assert uv_settings(config) == (
        [],
        {
            'SSL_CERT_FILE': '/a b.crt',
            'UV_DEFAULT_INDEX': 'https://user:secret@host/simple',
            'UV_INDEX': 'https://a/simple https://b/simple',
            'UV_FIND_LINKS': '/wheels,/more',
            'UV_HTTP_TIMEOUT': '180',
        },
    )
    assert uv_settings("install.no-index='true'\n") == (['--no-index'], {})
    assert uv_settings('') == ([], {})


def test_what_ros_or_the_system_has_is_not_installed(
    workspace: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.output = 'numpy catkin-pkg\ncv2\n'
    monkeypatch.setattr('shutil.which', lambda name, path: name if name == 'cmake' else None)
    pins = ['catkin-pkg==1', 'cmake==1', 'empy==1', 'ninja==1', 'numpy==2 ; python_version < "3"']
    assert missing_requirements([*pins, 'opencv-python-headless==5'], workspace) == [
        'empy==1',
        'ninja==1',
    ]


def test_half_installed_distribution_is_removed(tmp_path: Path) -> None:
    complete, torn, half = (tmp_path / f'{n}-1.dist-info' for n in ('complete', 'torn', 'half'))
    for folder in (complete, torn, half, tmp_path / '~alf', tmp_path / 'half'):
        folder.mkdir()
    (complete / 'RECORD').write_text('complete-1.dist-info/INSTALLER,sha256=x,3\n')
    (torn / 'RECORD').write_text('torn/__init__.py,sha256=x,3\n')
    (half / 'METADATA').touch()
    for _ in range(2):
        remove_half_installed(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ['complete-1.dist-info', 'half']


def test_foreign_virtual_environment_is_refused(workspace: Recorder) -> None:
    kept = workspace.venv / 'pyvenv.cfg'
    kept.touch()
    with pytest.raises(WorkspaceError, match='move it away'):
        make_venv(workspace, Path('/usr/bin/python3'))
    assert kept.exists()


def test_own_virtual_environment_is_made_anew(workspace: Recorder) -> None:
    make_venv(workspace, Path('/usr/bin/python3'))  # killed before there was anything in it
    (workspace.venv / 'lib').mkdir()
    (workspace.venv / 'lib64').symlink_to('lib')
    (workspace.venv / 'old').touch()
    make_venv(workspace, Path('/usr/bin/python3'))
    assert [path.name for path in workspace.venv.iterdir()] == ['.made-by-mnssd']
    assert workspace.commands[-1] == ['/usr/bin/python3', '-m', 'venv', str(workspace.venv)]


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (BUILT, PATCHED),
        ('', ''),
        (PATCHED, PATCHED),
        ('set(x "/opt/ros/jazzy/include/rcl")\n', 'set(x "/opt/ros/jazzy/include/rcl")\n'),
    ],
)
def test_folders_of_the_build_machine_are_replaced(
    tmp_path: Path, text: str, expected: str
) -> None:
    path = tmp_path / 'std_msgs' / 'cmake' / 'export.cmake'
    path.parent.mkdir(parents=True)
    path.write_text(text)
    for _ in range(2):
        patch_cmake_files(tmp_path, INCLUDE, SITE)
        assert path.read_text() == expected
    assert [file.name for file in path.parent.iterdir()] == ['export.cmake']
