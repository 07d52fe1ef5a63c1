"""Source packages to the workspace's install folder, by way of colcon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
import shutil

from mnssd_workspace.layout import Layout
from mnssd_workspace.process import run_logged
from mnssd_workspace.stamps import digest_files

__all__ = ['build_packages', 'digest_package']

_MAIN = 'import sys; from colcon_core.command import main; sys.exit(main())'
_CONTENT = ('package.xml', 'setup.py', 'setup.cfg', 'CMakeLists.txt')
_CONTENT_FOLDERS = ('msg', 'srv', 'action')
_NAME_FOLDERS = ('launch', 'config', 'resource')


def digest_package(layout: Layout, name: str) -> str:
    """
    Digest what colcon copies or generates from; Python sources are linked, and so left out.

    Of launch and configuration files only the names count: they are linked as well.

    :param layout: of the workspace.
    :param name: of the package.
    """
    folder = layout.package(name)
    content = list(_CONTENT)
    names = []
    for sub in _CONTENT_FOLDERS:
        content += [os.fspath(path.relative_to(folder)) for path in (folder / sub).glob('*')]
    for sub in _NAME_FOLDERS:
        names += [os.fspath(path.relative_to(folder)) for path in (folder / sub).glob('*')]
    return digest_files(folder, content) + '\n' + '\n'.join(sorted(names))


def build_packages(
    step: str,
    packages: Sequence[str],
    layout: Layout,
    env: Mapping[str, str],
    *,
    stale: Sequence[str] = (),
    verbose: bool,
) -> None:
    """
    Build packages from nothing, so that no half of an earlier build can get in.

    :param step: name of the step, for its log.
    :param packages: names of the packages.
    :param layout: of the workspace.
    :param env: the environment variables.
    :param stale: names of packages that are to be there no longer.
    :param verbose: show the output.
    """
    for name in (*packages, *stale):
        for base in (layout.build, layout.install):
            shutil.rmtree(base / name, ignore_errors=True)
    command: list[str | os.PathLike[str]] = [layout.python, '-c', _MAIN]
    command += ['--log-base', layout.log / 'colcon', 'build', '--symlink-install']
    command += ['--base-paths', *(layout.package(name) for name in packages)]
    command += ['--build-base', layout.build, '--install-base', layout.install]
    command += ['--event-handlers', 'console_direct+', '--cmake-args', '-GNinja']
    command += ['-DBUILD_TESTING=OFF', f'-DPython3_EXECUTABLE={layout.python}']
    run_logged(
        'colcon build',
        command,
        cwd=layout.root,
        env=env,
        log=layout.log / 'workspace' / f'{step}.log',
        verbose=verbose,
    )
