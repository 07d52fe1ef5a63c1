"""A Python to the virtual environment of a workspace."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
import shutil

from mnssd_workspace.errors import ForeignEnvironmentError
from mnssd_workspace.host import Host
from mnssd_workspace.layout import Layout
from mnssd_workspace.process import run_logged

__all__ = ['make_venv', 'site_packages']

_OURS = '.made-by-mnssd'


def site_packages(layout: Layout, version: str) -> Path:
    """
    Return the folder of the installed Python packages.

    :param layout: of the workspace.
    :param version: of Python, for example ``3.12``.
    """
    return layout.venv / 'lib' / f'python{version}' / 'site-packages'


def make_venv(layout: Layout, host: Host, env: Mapping[str, str], *, verbose: bool) -> None:
    """
    Make the virtual environment anew; whatever was left of one of ours is removed.

    With a sourced ROS 2 it sees the system's Python packages, otherwise it is closed.

    :param layout: of the workspace.
    :param host: the machine.
    :param env: the environment variables.
    :param verbose: show the output.
    :raises ForeignEnvironmentError: if there is one that this setup has not made.
    """
    mark = layout.venv / _OURS
    if layout.venv.is_symlink() or (layout.venv.exists() and not mark.exists()):
        raise ForeignEnvironmentError(layout.venv)
    if layout.venv.exists():
        for path in layout.venv.iterdir():
            if path == mark:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    # Made under another name and renamed, so that no unmarked folder can be left behind.
    else:
        unmarked = layout.venv.with_name('.venv.unfinished')
        unmarked.mkdir(exist_ok=True)
        (unmarked / _OURS).touch()
        unmarked.rename(layout.venv)
    options = ['--system-site-packages'] if host.ros else []
    run_logged(
        'making the virtual environment',
        [host.python, '-m', 'venv', *options, layout.venv],
        cwd=layout.root,
        env=env,
        log=layout.log / 'workspace' / 'venv.log',
        verbose=verbose,
    )
