"""Parse the command line and set up a workspace, or run a command in it."""

from __future__ import annotations

import argparse
import errno
import importlib.util
import os
from pathlib import Path
import shutil
import sys

from mnssd_workspace.host import find_ros, WorkspaceError
from mnssd_workspace.process import DISK_FULL, run_in_foreground
from mnssd_workspace.setup import set_up
from mnssd_workspace.workspace import Workspace

_ROOT = Path(__file__).resolve().parents[3]


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; return the exit status."""
    parser = argparse.ArgumentParser(
        prog='python3 tools/workspace',
        description='Set up ROS 2 and the packages of this repository on any machine.',
    )
    verbs = parser.add_subparsers(dest='verb', required=True)
    setup = verbs.add_parser('setup', help='make the workspace, or what is missing of it')
    setup.add_argument(
        '--without-training',
        action='store_true',
        help='do not install PyTorch nor build mnssd_training (what is there stays there)',
    )
    setup.add_argument('--verbose', action='store_true', help='show the output of every command')
    run = verbs.add_parser('run', help='run a command in the environment of the workspace')
    run.add_argument('--foreground', action='store_true', help='let only the command see Ctrl-C')
    run.add_argument('command', nargs=argparse.REMAINDER, help='the command and its arguments')
    options = parser.parse_args(arguments)
    try:
        has_rclpy = importlib.util.find_spec('rclpy') is not None
        ros = find_ros(os.environ, _ROOT, has_rclpy=has_rclpy)
        workspace = Workspace(_ROOT, '{}.{}'.format(*sys.version_info), ros)
        if options.verb == 'run':
            return run_command(workspace, options.command, foreground=options.foreground)
        workspace.verbose = options.verbose
        set_up(workspace, training=not options.without_training)
    except (WorkspaceError, OSError) as error:
        is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        print(f'mnssd: {DISK_FULL if is_full else error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('mnssd: interrupted; run it again to continue', file=sys.stderr)
        return 130
    return 0


def run_command(workspace: Workspace, command: list[str], *, foreground: bool) -> int:
    """Run a command in the environment of the workspace; return its exit status."""
    command = command[1:] if command[:1] == ['--'] else command
    if not command:
        raise WorkspaceError('expected a command to run, got none')
    if not workspace.activation.is_file():
        raise WorkspaceError('there is no workspace yet; make it with `make setup`')
    config = (workspace.venv / 'pyvenv.cfg').read_text()
    was_made_on_ros = 'include-system-site-packages = true' in config
    if was_made_on_ros != bool(workspace.ros):
        expected, received = ('a', 'none') if was_made_on_ros else ('no', 'one')
        raise WorkspaceError(
            f'expected {expected} sourced ROS 2, as when this workspace was made, got {received}; '
            'source it (`source /opt/ros/<distro>/setup.bash`) or start a shell that does not, or '
            'run `make setup` to make the workspace anew'
        )
    env = workspace.env()
    program = shutil.which(command[0], path=env['PATH'])
    if program is None:
        raise WorkspaceError(f'expected a program, got {command[0]!r}, which is not on the PATH')
    if foreground:
        return run_in_foreground(program, command, env)
    return os.execve(program, command, env)
