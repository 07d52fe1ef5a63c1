"""Ctrl-C under make: the command ends as it likes, and make is content."""

import os
from pathlib import Path
import pty
import shutil
import signal
import sys

from mnssd_workspace.foreground import run_in_foreground
import pytest

TOOLS = Path(__file__).resolve().parents[1]
DEMO = """
import signal, sys, time
try:
    print('playing', flush=True)
    time.sleep(30)
except KeyboardInterrupt:
    print('ended well', flush=True)
"""
MAKEFILE = """
demo:
\t@{python} -c 'import os, sys; from mnssd_workspace.foreground import run_in_foreground; \\
\t\tsys.exit(run_in_foreground(sys.executable, ["python", "demo.py"], os.environ))'
\t@echo next
"""


def read_until(terminal: int, words: bytes) -> bytes:
    output = b''
    while words not in output:
        try:
            chunk = os.read(terminal, 1024)
        except OSError:
            break
        if not chunk:
            break
        output += chunk
    return output


@pytest.mark.skipif(shutil.which('make') is None, reason='needs make')
def test_ctrl_c_reaches_the_command_and_not_make(tmp_path: Path) -> None:
    (tmp_path / 'demo.py').write_text(DEMO)
    (tmp_path / 'Makefile').write_text(MAKEFILE.format(python=sys.executable))
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores it
        os.environ['PYTHONPATH'] = str(TOOLS)
        os.execvp('make', ['make', 'demo'])
    read_until(terminal, b'playing')
    os.write(terminal, b'\x03')
    output = read_until(terminal, b'next')
    _, status = os.waitpid(process, 0)
    os.close(terminal)
    assert b'ended well' in output
    assert os.waitstatus_to_exitcode(status) == 0


def test_without_a_terminal_it_just_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mnssd_workspace.foreground._TERMINAL', '/nowhere')
    words = ['python', '-c', 'raise SystemExit(7)']
    assert run_in_foreground(sys.executable, words, os.environ) == 7
