"""Commands that end with the process that started them, children and all."""

import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from mnssd_workspace import supervise
import pytest

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
print(child.pid, flush=True)
time.sleep(60)
"""


def start(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, supervise.__file__, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def is_running(pid: int) -> bool:
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return False
    return state != 'Z'


@pytest.mark.parametrize('status', [0, 3])
def test_status_of_the_command_is_returned(status: int) -> None:
    with start(sys.executable, '-c', f'raise SystemExit({status})') as process:
        assert process.wait() == status


def test_signal_is_reported_as_a_shell_does() -> None:
    with start('/bin/sh', '-c', 'kill -KILL $$') as process:
        assert process.wait() == 128 + signal.SIGKILL


def test_closed_pipe_kills_the_command_and_its_children() -> None:
    with start(sys.executable, '-c', PARENT) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        child = int(process.stdout.readline())
        assert is_running(child)
        process.stdin.close()
        assert process.wait(timeout=10) == 128 + signal.SIGKILL
    end = time.monotonic() + 5
    while is_running(child) and time.monotonic() < end:
        time.sleep(0.01)
    assert not is_running(child)


def test_interrupt_does_not_end_the_command() -> None:
    script = "import time; print('up', flush=True); time.sleep(0.3); raise SystemExit(5)"
    with start(sys.executable, '-c', script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'up\n'
        os.kill(process.pid, signal.SIGINT)
        assert process.wait() == 5
