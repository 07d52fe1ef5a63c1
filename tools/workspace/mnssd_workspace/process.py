"""A command to its output in a log file, and to an error with the way out where it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import errno
import os
from pathlib import Path
import re
import shlex
import subprocess
import sys

from mnssd_workspace.errors import (
    CommandError,
    DiskFullError,
    HashError,
    MissingWheelError,
    NetworkError,
    WorkspaceError,
)

__all__ = ['diagnose', 'run_logged']

_LEASH = os.fspath(Path(__file__).with_name('leash.py'))
_NUM_LAST_LINES = 20
_NO_SPACE = ('No space left on device', 'Disk quota exceeded')
_WRONG_HASH = 'DO NOT MATCH THE HASHES'
_NO_WHEEL = re.compile(r'ERROR: No matching distribution found for (\S+)')
_NO_REGISTRY = (
    'ConnectTimeoutError',
    'Connection refused',
    'Connection to ',
    'ConnectionError',
    'Could not fetch URL',
    'Failed to establish a new connection',
    'Name or service not known',
    'Network is unreachable',
    'NewConnectionError',
    'ProxyError',
    'ReadTimeoutError',
    'Temporary failure in name resolution',
)


def diagnose(output: str) -> str:
    """
    Tell the known causes of failure apart.

    :param output: what the failed command wrote.
    :return: ``'disk'``, ``'hash'``, ``'network'`` or ``'unknown'``.
    """
    if any(sign in output for sign in _NO_SPACE):
        return 'disk'
    if _WRONG_HASH in output:
        return 'hash'
    if any(sign in output for sign in _NO_REGISTRY):
        return 'network'
    return 'unknown'


def run_logged(
    name: str,
    command: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    verbose: bool = False,
) -> None:
    """
    Run a command and append all that it writes to a log file.

    :param name: short name for messages.
    :param command: its words.
    :param cwd: folder to run it in.
    :param env: its whole environment.
    :param log: file to append to.
    :param verbose: show the output as well.
    :raises WorkspaceError: if it fails; the leaf class depends on what it wrote.
    """
    words = [os.fspath(word) for word in command]
    lines: list[str] = []
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open('a') as file:
            file.write(f'$ {shlex.join(words)}\n')
            # On a leash, which we hold by its standard input: were this process killed, nothing
            # must work on behind the back of the next. It inherits the workspace's lock.
            with subprocess.Popen(
                [sys.executable, '-I', '-S', _LEASH, *words],
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors='replace',
                close_fds=False,
            ) as process:
                for line in process.stdout or ():
                    lines.append(line)
                    file.write(line)
                    file.flush()
                    if verbose:
                        sys.stdout.write(line)
                status = process.wait()
    except OSError as error:
        raise _translate(error, name, log) from error
    if status:
        raise _failure(name, status, log, lines)


def _translate(error: OSError, name: str, log: Path) -> WorkspaceError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(log.parent)
    return CommandError(name, error.errno or 1, log, (str(error),))


def _failure(name: str, status: int, log: Path, lines: Sequence[str]) -> WorkspaceError:
    cause = diagnose(''.join(lines))
    if cause == 'disk':
        return DiskFullError(log.parent)
    if cause == 'hash':
        return HashError(log)
    if cause == 'network':
        return NetworkError(log)
    missing = _NO_WHEEL.search(''.join(lines))
    if missing:
        return MissingWheelError(missing[1], log)
    last = tuple(line.rstrip() for line in lines if line.strip())[-_NUM_LAST_LINES:]
    return CommandError(name, status, log, last)
