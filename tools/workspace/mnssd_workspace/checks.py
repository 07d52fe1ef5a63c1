"""A machine to the first thing that it lacks, before a step needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import importlib.util
import os
from pathlib import Path
import shlex
import shutil
import subprocess
import tempfile

from mnssd_workspace.errors import (
    CompilerError,
    DiskError,
    MissingVenvError,
    PythonError,
    PythonHeadersError,
)
from mnssd_workspace.host import Host

__all__ = ['check_compilers', 'check_disk', 'check_headers', 'check_python', 'check_venv_module']

_VERSIONS = ((3, 10), (3, 11), (3, 12), (3, 13))
_COMPILERS = {
    'C': ('CC', ('cc', 'gcc', 'clang'), '.c'),
    'C++': ('CXX', ('c++', 'g++', 'clang++'), '.cpp'),
}
_COMPILE_TIMEOUT = 60


def check_python(host: Host, which: Callable[[str], str | None] = shutil.which) -> None:
    """
    Check that there are wheels of ROS 2 for this machine and its Python.

    :param host: the machine.
    :param which: finds a program on the PATH.
    :raises PythonError: if there are none.
    """
    low, high = _VERSIONS[0], _VERSIONS[-1]
    if host.version < low or (host.version > high and host.ros is None):
        names = [f'python{major}.{minor}' for major, minor in reversed(_VERSIONS)]
        others = tuple(name for name in names if which(name))
        raise PythonError(
            f'expected Python {low[0]}.{low[1]} to {high[0]}.{high[1]}, got {host.dotted} '
            f'({host.python})',
            others,
        )
    if host.ros is None and (host.system, host.machine) != ('Linux', 'x86_64'):
        raise PythonError(
            'expected Linux on x86_64, for which ROS 2 comes as Python wheels, got '
            f'{host.system} on {host.machine} without ROS 2'
        )


def check_venv_module(
    host: Host, find: Callable[[str], object] = importlib.util.find_spec
) -> None:
    """
    Check that Python can make virtual environments with pip in them.

    :param host: the machine.
    :param find: finds a module, or returns None.
    :raises MissingVenvError: if it cannot.
    """
    if find('venv') is None or find('ensurepip') is None:
        raise MissingVenvError(host.dotted)


def check_headers(host: Host) -> None:
    """
    Check that message packages can be compiled for this Python.

    :param host: the machine.
    :raises PythonHeadersError: if Python.h is not there.
    """
    if not (host.include / 'Python.h').is_file():
        raise PythonHeadersError(str(host.include), host.dotted)


def check_compilers(
    environ: Mapping[str, str], which: Callable[[str], str | None] = shutil.which
) -> None:
    """
    Check that C and C++ compile.

    :param environ: the environment variables; CC and CXX choose compilers.
    :param which: finds a program on the PATH.
    :raises CompilerError: if one of them does not.
    """
    for language, (variable, names, suffix) in _COMPILERS.items():
        chosen = shlex.split(environ.get(variable, ''))
        found = [path for name in names if (path := which(name))]
        command = chosen or found[:1]
        if not command:
            raise CompilerError(language, f'found none of {", ".join(names)}')
        _compile_nothing(language, command, suffix)


def _compile_nothing(language: str, command: list[str], suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, f'nothing{suffix}')
        header = 'cstddef' if language == 'C++' else 'stddef.h'
        source.write_text(f'#include <{header}>\nint main() {{ return 0; }}\n')
        try:
            tried = subprocess.run(
                [*command, os.fspath(source), '-o', os.fspath(source.with_suffix(''))],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors='replace',
                timeout=_COMPILE_TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CompilerError(language, f'{command[0]} could not be run ({error})') from error
    if tried.returncode:
        words = (tried.stderr.strip() or tried.stdout.strip()).splitlines()
        reason = words[-1] if words else f'status {tried.returncode}'
        raise CompilerError(language, f'{command[0]} does not compile an empty program ({reason})')


def check_disk(folder: Path, needed: int, *, training: bool) -> None:
    """
    Check the free space of a disk.

    :param folder: an existing folder on it.
    :param needed: bytes.
    :param training: whether the training packages are a part of it.
    :raises DiskError: if there is less.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskError(folder, needed, free, training=training)
