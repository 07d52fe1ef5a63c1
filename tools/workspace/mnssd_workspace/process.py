"""Run commands: logged ones of the setup, and one in the foreground of the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
from pathlib import Path
import re
import shlex
import signal
import subprocess
import sys
from typing import TypeAlias

from mnssd_workspace.host import WorkspaceError

Command: TypeAlias = 'list[str | os.PathLike[str]]'

# Resolved while it is there: setup removes `.venv` also when its own Python runs it.
_PYTHON = os.path.realpath(sys.executable)
_SUPERVISE = os.fspath(Path(__file__).with_name('supervise.py'))
_SETTINGS = 'the index settings of pip (`pip config list`) and uv (`env | grep UV_`)'
DISK_FULL = (
    'no space is left on the disk of the workspace or of the cache of uv (~/.cache/uv); free '
    'some, then run it again: completed steps stay completed'
)
# What pip, uv, colcon or a compiler writes -> the message, with the groups of the expression.
_CAUSES = (
    (r'No space left on device|Disk quota exceeded', DISK_FULL),
    (
        r'DO NOT MATCH THE HASHES|Hash mismatch for `([^`]+)`',
        'expected files with the hashes in tools/workspace/requirements.lock, got another one; a '
        'mirror that repacks wheels, a damaged download or tampering may be the cause, see '
        f'{_SETTINGS}',
    ),
    (
        r'but none were provided for: (\S+)|Because you require (\S+) and \S+==\S+, we can',
        'expected a hash of {0} in tools/workspace/requirements.lock, got none; run `make lock`',
    ),
    (
        r'must have their versions pinned with `==`, but found: (.+)',
        'expected `name==version` in tools/workspace/requirements, got {0!r}',
    ),
    (
        'Connection ?(?:Error|refused|to )|ConnectTimeoutError|Could not fetch URL|'
        'Failed to establish a new connection|Name or service not known|Network is unreachable|'
        'ProxyError|ReadTimeoutError|Temporary failure in name resolution|'
        'error sending request|Failed to fetch: |Network connectivity is disabled',
        'the package registry could not be reached; check the network, the proxy and '
        f'{_SETTINGS}, then run it again',
    ),
    (
        r'No matching distribution found for (\S+)|Because (\S+) was not found|'
        r'there is no version of (\S+)|Because (\S+) has no ',
        f'the package registry has no {{0}} for this Python and machine; check {_SETTINGS}, or '
        'use another Python with `make setup PYTHON=...`',
    ),
)


def explain_failure(output: str) -> str:
    """Return the message for a known cause that the output of a command shows, or nothing."""
    for pattern, message in _CAUSES:
        if match := re.search(pattern, output):
            return message.format(*filter(None, match.groups()))
    return ''


def run_logged(
    command: Command, log: Path, env: Mapping[str, str], *, verbose: bool = False
) -> str:
    """
    Run a command, append its output to a log file, and return it.

    :raises WorkspaceError: if it fails, with the cause where the output shows a known one.
    """
    argv = [os.fspath(part) for part in command]
    output = ''
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('a') as file:
        file.write(f'$ {shlex.join(argv)}\n')
        # It must not work on when this process is killed; until then it holds the lock, too.
        with subprocess.Popen(
            [_PYTHON, '-I', '-S', _SUPERVISE, *argv],
            cwd=log.parent,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            close_fds=False,
        ) as process:
            for line in process.stdout or ():
                output += line
                file.write(line)
                file.flush()
                if verbose:
                    sys.stdout.write(line)
    if not process.returncode:
        return output
    if cause := explain_failure(output):
        raise WorkspaceError(f'{cause} (details: {log})')
    last_lines = [line for line in output.splitlines() if line.strip()][-20:]
    raise WorkspaceError(
        f'{Path(argv[0]).name} failed with status {process.returncode}; the complete output is '
        f'in {log}, it ends with:' + ''.join(f'\n    {line}' for line in last_lines)
    )


def run_in_foreground(
    program: str, command: Sequence[str], env: Mapping[str, str], terminal: str = '/dev/tty'
) -> int:
    """
    Run a command as a shell with job control does, and return its exit status.

    On Ctrl-C `make` fails, however well its command ends. A command in a foreground process group
    of its own receives the signal with all that it has started, and make does not.
    """
    try:
        tty = os.open(terminal, os.O_RDWR)
    except OSError:
        return subprocess.run(command, executable=program, env=env, check=False).returncode
    group = os.getpgrp()
    is_foreground = os.tcgetpgrp(tty) == group

    def take_terminal() -> None:
        os.setpgid(0, 0)
        os.tcsetpgrp(tty, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)

    # A background process group that takes the terminal would otherwise be stopped.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    start = take_terminal if is_foreground else None  # safe: there is one thread
    try:
        return subprocess.run(
            command, executable=program, env=env, preexec_fn=start, check=False
        ).returncode
    finally:
        if is_foreground:
            os.tcsetpgrp(tty, group)
        os.close(tty)
