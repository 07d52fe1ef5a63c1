"""Pinned requirements to installed distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
from pathlib import Path
import shutil
import subprocess

from mnssd_workspace.errors import BrokenBuildError
from mnssd_workspace.layout import Layout
from mnssd_workspace.pins import Pin
from mnssd_workspace.process import run_logged

__all__ = ['install_pins', 'missing_pins', 'remove_half_installed']

# Where a distribution of the system goes by another name than the wheel's, or by none.
_MODULES = {'empy': 'em', 'opencv-python-headless': 'cv2'}
_PROGRAMS = {'cmake': 'cmake', 'ninja': 'ninja'}
# Comes first: what has no wheel is built with it.
_BUILDER = 'setuptools'
_PRESENT = """
import importlib.metadata as metadata, importlib.util as util, re, sys
names = {re.sub('[-_.]+', '-', d.metadata['Name'] or '').lower() for d in metadata.distributions()}
modules = {name for name in sys.argv[1:] if util.find_spec(name)}
print('\\n'.join(sorted(names) + sorted('module ' + name for name in modules)))
"""


def remove_half_installed(site: Path) -> list[str]:
    """
    Remove the traces by which pip would take a half installed distribution for a whole one.

    RECORD is what pip writes last; folders that begin with a tilde are what it moves away first.

    :param site: folder of the installed Python packages.
    :return: names of the removed folders.
    """
    half = [path for path in site.glob('*.dist-info') if not (path / 'RECORD').is_file()]
    half += site.glob('~*')
    for path in half:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return sorted(path.name for path in half)


def missing_pins(pins: Sequence[Pin], layout: Layout, env: Mapping[str, str]) -> list[Pin]:
    """
    Leave out what the system's Python, or the system itself, has already.

    :param pins: what is wanted.
    :param layout: of the workspace.
    :param env: the environment variables.
    """
    command = [os.fspath(layout.python), '-c', _PRESENT, *_MODULES.values()]
    found = subprocess.run(command, env=dict(env), capture_output=True, text=True, check=False)
    if found.returncode:
        raise BrokenBuildError((found.stderr.strip().splitlines() or ['no output'])[-1])
    present = set(found.stdout.splitlines())

    def is_missing(pin: Pin) -> bool:
        if pin.name in _PROGRAMS:
            return shutil.which(_PROGRAMS[pin.name], path=env.get('PATH')) is None
        return pin.name not in present and f'module {_MODULES.get(pin.name)}' not in present

    return [pin for pin in pins if is_missing(pin)]


def install_pins(
    name: str,
    pins: Sequence[Pin],
    layout: Layout,
    env: Mapping[str, str],
    *,
    verbose: bool,
) -> None:
    """
    Install distributions at their pinned versions, and nothing else.

    pip refuses every file whose hash is not in the lock.

    :param name: of the step.
    :param pins: a complete set: dependencies are not looked up.
    :param layout: of the workspace.
    :param env: the environment variables.
    :param verbose: show the output.
    """
    for site in layout.venv.glob('lib/python*/site-packages'):
        remove_half_installed(site)
    # pip unpacks into TMPDIR, which elsewhere may be small.
    layout.scratch.mkdir(parents=True, exist_ok=True)
    first = [pin for pin in pins if pin.name == _BUILDER]
    for part in (first, [pin for pin in pins if pin not in first]):
        if not part:
            continue
        requirements = layout.scratch / f'{name}.txt'
        requirements.write_text('\n'.join(pin.requirement for pin in part) + '\n')
        options = (
            '--require-hashes --no-deps --no-compile --no-build-isolation --no-input '
            '--progress-bar=off'
        )
        run_logged(
            'pip',
            [
                layout.python,
                *('-m', 'pip', '--disable-pip-version-check', 'install'),
                *options.split(),
                '--requirement',
                requirements,
            ],
            cwd=layout.root,
            env={**env, 'TMPDIR': os.fspath(layout.scratch)},
            log=layout.log / 'workspace' / f'{name}.log',
            verbose=verbose,
        )
    shutil.rmtree(layout.scratch, ignore_errors=True)
