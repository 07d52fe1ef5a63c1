"""A workspace to the environment variables that commands need in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
from pathlib import Path
import shlex

from mnssd_workspace.layout import Layout

__all__ = [
    'activation_script',
    'launcher_script',
    'prepended_paths',
    'workspace_environment',
]

# The wheels would otherwise start each Python anew to set LD_LIBRARY_PATH, which is set here.
_WHEELS_READY = '_ROS_WHEELS_BOOTSTRAP_COMPLETE'


def prepended_paths(
    layout: Layout, packages: Sequence[str], version: str, *, wheels: bool
) -> dict[str, tuple[Path, ...]]:
    """
    List what a workspace puts in front of each path variable.

    :param layout: of the workspace.
    :param packages: built ones, each after those that it depends on.
    :param version: of Python, for example ``3.12``.
    :param wheels: whether ROS 2 itself is in the virtual environment.
    """
    installed = [layout.install / name for name in reversed(packages)]
    site = Path('lib') / f'python{version}' / 'site-packages'
    ros = [layout.venv] if wheels else []
    # colcon links a Python package's source into its build folder (--symlink-install).
    sources = [
        layout.build / name for name in packages if (layout.package(name) / 'setup.py').exists()
    ]
    bundled = sorted((layout.venv / site).glob('ros_*.libs')) if wheels else []
    return {
        'PATH': (layout.venv / 'bin',),
        'AMENT_PREFIX_PATH': (*installed, *ros),
        'CMAKE_PREFIX_PATH': (*installed, *ros),
        'PYTHONPATH': (*sources, *(prefix / site for prefix in installed)),
        'LD_LIBRARY_PATH': (
            *(prefix / 'lib' for prefix in (*installed, *ros)),
            *bundled,
        ),
    }


def workspace_environment(
    environ: Mapping[str, str],
    layout: Layout,
    paths: Mapping[str, Sequence[Path]],
    *,
    wheels: bool,
) -> dict[str, str]:
    """
    Put a workspace in front of an environment; doing it twice is doing it once.

    :param environ: the environment variables to start from.
    :param layout: of the workspace.
    :param paths: from :func:`prepended_paths`.
    :param wheels: whether ROS 2 itself is in the virtual environment.
    """
    result = dict(environ)
    for variable, front in paths.items():
        words = [os.fspath(path) for path in front]
        back = [word for word in environ.get(variable, '').split(':') if word not in ('', *words)]
        result[variable] = ':'.join([*words, *back])
    result['VIRTUAL_ENV'] = os.fspath(layout.venv)
    result.pop('PYTHONHOME', None)
    if wheels:
        result[_WHEELS_READY] = '1'
    else:
        result.pop(_WHEELS_READY, None)
    return result


def activation_script(layout: Layout, paths: Mapping[str, Sequence[Path]], *, wheels: bool) -> str:
    """
    Write the same as a script for bash and its kin.

    :param layout: of the workspace.
    :param paths: from :func:`prepended_paths`.
    :param wheels: whether ROS 2 itself is in the virtual environment.
    """
    lines = ['# Sourced by a shell that works in this workspace; written by `make setup`.']
    for variable, front in paths.items():
        words = shlex.quote(':'.join(os.fspath(path) for path in front))
        lines.append(f'export {variable}={words}"${{{variable}:+:${{{variable}}}}}"')
    lines.append(f'export VIRTUAL_ENV={shlex.quote(os.fspath(layout.venv))}')
    lines.append('unset PYTHONHOME')
    if wheels:
        lines.append(f'export {_WHEELS_READY}=1')
    return '\n'.join(lines) + '\n'


def launcher_script(layout: Layout) -> str:
    """
    Write the command ``mnssd`` of the virtual environment, which works from any shell.

    :param layout: of the workspace.
    """
    script = layout.install / 'mnssd_perception' / 'lib' / 'mnssd_perception' / 'mnssd'
    return (
        '#!/bin/sh\n'
        '# Runs mnssd in the environment of the workspace; written by `make setup`.\n'
        f'. {shlex.quote(os.fspath(layout.activation))}\n'
        f'exec {shlex.quote(os.fspath(layout.python))} {shlex.quote(os.fspath(script))} "$@"\n'
    )
