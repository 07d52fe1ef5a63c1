"""Words of a command line to a workspace, or to a command in it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import errno
import os
from pathlib import Path
import shutil
import sys

from mnssd_workspace.errors import DiskFullError, NoWorkspaceError, RosError, WorkspaceError
from mnssd_workspace.foreground import run_in_foreground
from mnssd_workspace.host import this_host
from mnssd_workspace.layout import Layout
from mnssd_workspace.plan import Job
from mnssd_workspace.set_up import set_up

__all__ = ['main']

_ROOT = Path(__file__).resolve().parents[3]
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Set a workspace up, or run a command in it.

    :param arguments: words of the command line; None for those of this process.
    :return: the exit status.
    """
    parser = argparse.ArgumentParser(
        prog='python3 tools/workspace',
        description='ROS 2 and the packages of this repository on any machine.',
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
    run.add_argument(
        '--foreground', action='store_true', help='let Ctrl-C reach the command alone'
    )
    run.add_argument('command', nargs=argparse.REMAINDER, help='the command and its arguments')
    options = parser.parse_args(arguments)
    layout = Layout(_ROOT)
    try:
        host = this_host(os.environ, _ROOT)
        if options.verb == 'run':
            job = Job(layout, host, os.environ)
            return _run(job, options.command, foreground=options.foreground)
        training = not options.without_training
        set_up(Job(layout, host, os.environ, training=training, verbose=options.verbose))
    except WorkspaceError as error:
        print(f'mnssd: {error}', file=sys.stderr)
        return 1
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        print(f'mnssd: {DiskFullError(_ROOT) if full else error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('mnssd: interrupted; run it again to go on', file=sys.stderr, flush=True)
        os._exit(_INTERRUPTED)  # without waiting for steps: their commands end with us
    return 0


def _run(job: Job, command: list[str], *, foreground: bool) -> int:
    words = command[1:] if command[:1] == ['--'] else command
    if not words:
        raise NoWorkspaceError('expected a command to run, got none')
    if not job.layout.activation.is_file():
        raise NoWorkspaceError('there is no workspace yet; make it with `make setup`')
    sees_system = 'include-system-site-packages = true'
    made_on_ros = sees_system in (job.layout.venv / 'pyvenv.cfg').read_text()
    if made_on_ros and job.wheels:
        raise RosError(
            'this workspace was made on a sourced ROS 2, and none is sourced now; source it '
            '(`source /opt/ros/<distro>/setup.bash`), or run `make setup` to make one without'
        )
    if not made_on_ros and not job.wheels:
        raise RosError(
            'this workspace was made without ROS 2, and one is sourced now; run `make setup` to '
            'make one that uses it'
        )
    env = job.env()
    program = shutil.which(words[0], path=env['PATH'])
    if program is None:
        raise NoWorkspaceError(f'expected a program, got {words[0]!r}, which is not on the PATH')
    if foreground:
        return run_in_foreground(program, words, env)
    sys.stdout.flush()
    os.execve(program, words, env)
    raise AssertionError
