"""Make the virtual environment and install the pinned requirements."""

from __future__ import annotations

from collections.abc import Sequence
import os
from pathlib import Path
import re
import shutil
import subprocess

from mnssd_workspace.host import WorkspaceError
from mnssd_workspace.process import Command
from mnssd_workspace.workspace import Workspace

TOOLS = Path(__file__).resolve().parents[1]
LOCK = TOOLS / 'requirements.lock'
_MARK = '.made-by-mnssd'
# Distributions that a system has under another name, or as a program.
_MODULES = {'empy': 'em', 'opencv-python-headless': 'cv2'}
_PROGRAMS = ('cmake', 'ninja')
_LIST_INSTALLED = """
import importlib.metadata as metadata, importlib.util as util, re, sys
print(*(re.sub('[-_.]+', '-', d.metadata['Name'] or '').lower() for d in metadata.distributions()))
print(*(name for name in sys.argv[1:] if util.find_spec(name)))
"""
# Option of pip -> variable of uv, which does not read the settings of pip, and its separator. Not
# options of uv: these are logged, and the address of an index can hold a password.
_UV_VARIABLES = {
    'index-url': ('UV_DEFAULT_INDEX', ' '),
    'extra-index-url': ('UV_INDEX', ' '),
    'find-links': ('UV_FIND_LINKS', ','),
    'trusted-host': ('UV_INSECURE_HOST', ' '),
    'proxy': ('ALL_PROXY', ' '),
    'timeout': ('UV_HTTP_TIMEOUT', ' '),
    'default-timeout': ('UV_HTTP_TIMEOUT', ' '),
}
# The hard-coded folders of the machine where the ROS 2 wheels were built.
_INCLUDE = re.compile(r'/opt/[^\s";)]*/include/python3\.\d+t?')
_SITE = re.compile(r'/opt/[^\s";)]*/lib/python3\.\d+t?/site-packages')


def make_venv(workspace: Workspace, python: Path) -> None:
    """
    Make the virtual environment anew; what is left of an earlier one of ours is removed.

    With a sourced ROS 2 it sees the system's Python packages.
    """
    venv, mark = workspace.venv, workspace.venv / _MARK
    if venv.is_symlink() or (venv.exists() and any(venv.iterdir()) and not mark.exists()):
        raise WorkspaceError(
            f'{venv} exists and was not made by this setup; move it away, then run it again'
        )
    venv.mkdir(exist_ok=True)
    mark.touch()
    for path in venv.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != mark:
            path.unlink()
    options = ['--system-site-packages'] if workspace.ros else []
    workspace.run('venv', [python, '-m', 'venv', *options, venv])


def read_requirements(*groups: str) -> list[str]:
    """Read the pinned requirements of groups, one a line."""
    paths = [TOOLS / 'requirements' / f'{group}.txt' for group in groups]
    lines = [line.strip() for path in paths for line in path.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith('#')]


def missing_requirements(requirements: Sequence[str], workspace: Workspace) -> list[str]:
    """Leave out what the Python of a ROS 2 installation, or the system itself, has already."""
    command: Command = [workspace.python, '-c', _LIST_INSTALLED, *_MODULES.values()]
    installed = set(workspace.run('install', command).split())

    def is_missing(requirement: str) -> bool:
        name = requirement.partition('==')[0]
        if name in _PROGRAMS:
            return shutil.which(name, path=workspace.environ.get('PATH')) is None
        return not installed & {name, _MODULES.get(name, name)}

    return [requirement for requirement in requirements if is_missing(requirement)]


def install_uv(workspace: Workspace) -> None:
    """Install uv with pip, at the version and with the hashes in the lock."""
    remove_half_installed(workspace.site)
    uv = re.search(r'^uv==.*(?:\n +--hash=.*)*', LOCK.read_text(), re.MULTILINE)
    requirements = workspace.venv / 'uv.txt'
    requirements.write_text(f'{uv[0]}\n' if uv else '')
    command: Command = [workspace.python, '-m', 'pip', 'install', '--require-hashes', '--no-deps']
    command += ['--no-input', '--disable-pip-version-check', '--requirement', requirements]
    workspace.run('install', command)


def install(requirements: Sequence[str], workspace: Workspace) -> None:
    """
    Install requirements without their dependencies, and only files whose hashes are in the lock.

    :param requirements: a complete set of ``name==version ; marker``.
    """
    remove_half_installed(workspace.site)
    show_config = [os.fspath(workspace.python), '-m', 'pip', 'config', 'list']
    pip_config = subprocess.run(  # not logged, as an index can hold a password
        show_config, env=workspace.env(), capture_output=True, text=True, check=False
    )
    options, variables = uv_settings(pip_config.stdout)
    variables = {k: value for k, value in variables.items() if k not in workspace.environ}
    command: Command = [workspace.venv / 'bin/uv', 'pip', 'install', '--python', workspace.python]
    command += ['--require-hashes', '--constraints', LOCK, '--no-deps', '--no-build-isolation']
    # As with pip, any index may have the file with the right hash.
    command += ['--index-strategy', 'unsafe-best-match', '--no-progress', *options]
    # What has no wheel is built with setuptools.
    first = [line for line in requirements if line.startswith('setuptools==')]
    for part in (first, requirements):
        if part:
            workspace.run('install', [*command, *part], **variables)


def uv_settings(pip_config: str) -> tuple[list[str], dict[str, str]]:
    """Translate what ``pip config list`` prints into options and variables of uv."""
    settings = dict(re.findall(r"^(?:global|install|:env:)\.([\w-]+)='(.*)'$", pip_config, re.M))
    is_offline = settings.get('no-index', '').lower() in ('1', 'true', 'yes', 'on')
    variables = {'SSL_CERT_FILE': settings['cert']} if 'cert' in settings else {}
    for key, (variable, separator) in _UV_VARIABLES.items():
        if key in settings:
            variables[variable] = separator.join(settings[key].replace('\\n', ' ').split())
    return ['--no-index'] if is_offline else [], variables


def remove_half_installed(site: Path) -> None:
    """
    Remove the metadata by which a half installed distribution would pass for a complete one.

    Both pip and uv end with a RECORD that lists INSTALLER; pip moves what it replaces to names
    that begin with a tilde.
    """
    for path in [*site.glob('~*')]:
        shutil.rmtree(path)
    for record in [path / 'RECORD' for path in site.glob('*.dist-info')]:
        if not record.is_file() or '.dist-info/INSTALLER' not in record.read_text():
            shutil.rmtree(record.parent)


def patch_cmake_files(share: Path, include: Path, site: Path) -> None:
    """Let the CMake files of the ROS 2 wheels name the headers of this machine."""
    for path in share.glob('*/cmake/*.cmake'):
        text = path.read_text()
        patched = _INCLUDE.sub(lambda _: os.fspath(include), text)
        patched = _SITE.sub(lambda _: os.fspath(site), patched)
        if patched != text:
            # Replaced, as the file itself is linked to the cache of uv.
            path.with_suffix('.patched').write_text(patched)
            path.with_suffix('.patched').replace(path)
