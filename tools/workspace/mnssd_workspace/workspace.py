"""Describe where a workspace has its files and which environment variables it needs."""

from __future__ import annotations

from collections.abc import Mapping
import os
from pathlib import Path
import shlex

from mnssd_workspace.process import Command, run_logged

# The wheels would otherwise restart each Python to set LD_LIBRARY_PATH, which is set here.
_WHEELS_READY = '_ROS_WHEELS_BOOTSTRAP_COMPLETE'


class Workspace:
    """
    Describe a workspace on this machine.

    :param root: of the repository.
    :param version: of Python, for example ``3.12``.
    :param ros: AMENT_PREFIX_PATH of the sourced ROS 2; without one, ROS 2 comes as wheels.
    :param environ: the environment variables to start from.
    """

    verbose = False  # show the output of the commands of the setup

    def __init__(
        self,
        root: Path,
        version: str,
        ros: tuple[Path, ...] = (),
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.root, self.version, self.ros, self.environ = root, version, ros, environ
        self.venv = root / '.venv'
        self.python = self.venv / 'bin' / 'python'
        self.site = self.venv / 'lib' / f'python{version}' / 'site-packages'
        self.stamps = self.venv / '.mnssd'
        self.activation = self.venv / 'mnssd.bash'
        vision_msgs = 'share/ament_index/resource_index/packages/vision_msgs'
        has_vision_msgs = any((prefix / vision_msgs).exists() for prefix in ros)
        self.messages = ['mnssd_msgs'] if has_vision_msgs else ['vision_msgs', 'mnssd_msgs']

    def source(self, package: str) -> Path:
        """Return the source folder of a ROS package."""
        return self.root / ('interfaces/vision_msgs' if package == 'vision_msgs' else package)

    def run(self, log: str, command: Command, **env: str) -> str:
        """Run a command in the environment of the workspace; return its output."""
        path = self.root / 'log' / 'workspace' / f'{log}.log'
        return run_logged(command, path, self.env() | env, verbose=self.verbose)

    def paths(self) -> dict[str, list[str]]:
        """List what the workspace, as far as it is built, puts in front of each variable."""
        packages = [*self.messages, 'mnssd_perception', 'mnssd_training']
        built = [name for name in packages if (self.root / 'install' / name).is_dir()]
        prefixes = [self.root / 'install' / name for name in reversed(built)]
        # colcon links the sources of a Python package into its build folder (--symlink-install).
        python = [name for name in built if (self.source(name) / 'setup.py').exists()]
        linked = [self.root / 'build' / name for name in python]
        installed = [prefix / self.site.relative_to(self.venv) for prefix in prefixes]
        ros = [] if self.ros else [self.venv]
        libraries = [prefix / 'lib' for prefix in (*prefixes, *ros)]
        paths = {
            'PATH': [self.venv / 'bin'],
            'AMENT_PREFIX_PATH': prefixes + ros,
            'CMAKE_PREFIX_PATH': prefixes + ros,
            'PYTHONPATH': linked + installed,
            'LD_LIBRARY_PATH': libraries + sorted(self.site.glob('ros_*.libs') if ros else ()),
        }
        return {variable: [os.fspath(path) for path in front] for variable, front in paths.items()}

    def env(self) -> dict[str, str]:
        """Put the workspace in front of environment variables; a second time changes nothing."""
        env = {**self.environ, 'VIRTUAL_ENV': os.fspath(self.venv), _WHEELS_READY: '1'}
        for variable, front in self.paths().items():
            back = [p for p in self.environ.get(variable, '').split(':') if p not in ('', *front)]
            env[variable] = ':'.join([*front, *back])
        env.pop('PYTHONHOME', None)
        if self.ros:
            del env[_WHEELS_READY]
        return env

    def activation_script(self) -> str:
        """Write the same environment variables as a script for bash and its kin."""
        script = '# Sourced by a shell that works in this workspace; written by `make setup`.\n'
        for variable, front in self.paths().items():
            value = shlex.quote(':'.join(front))
            script += f'export {variable}={value}"${{{variable}:+:${{{variable}}}}}"\n'
        script += f'export VIRTUAL_ENV={shlex.quote(os.fspath(self.venv))}\nunset PYTHONHOME\n'
        return script if self.ros else f'{script}export {_WHEELS_READY}=1\n'

    def write_activation(self) -> None:
        """Write the activation script, a .pth file, and the command ``mnssd`` for any shell."""
        program = self.root / 'install/mnssd_perception/lib/mnssd_perception/mnssd'
        launcher = self.venv / 'bin' / 'mnssd'
        self.activation.write_text(self.activation_script())
        # Where only the virtual environment is active, `python -m` and torchrun use this.
        links = ''.join(f'{path}\n' for path in self.paths()['PYTHONPATH'])
        (self.site / 'mnssd_workspace.pth').write_text(links)
        launcher.write_text(
            '#!/bin/sh\n'
            '# Runs mnssd in the environment of the workspace; written by `make setup`.\n'
            f'. {shlex.quote(os.fspath(self.activation))}\n'
            f'exec {shlex.quote(os.fspath(self.python))} {shlex.quote(os.fspath(program))} "$@"\n'
        )
        launcher.chmod(0o755)
