"""Commands that fail, the causes that their output shows, and Ctrl-C under make."""

import os
from pathlib import Path
import pty
import shutil
import signal
import subprocess
import sys

from mnssd_workspace.host import WorkspaceError
from mnssd_workspace.process import explain_failure, run_in_foreground, run_logged
import pytest

TOOLS = Path(__file__).resolve().parents[1]
# Written by pip or uv.
UNREACHABLE = """WARNING: Retrying (Retry(total=4)) after connection broken by
'NewConnectionError('<HTTPConnection>: Failed to establish a new connection')': /simple/numpy/
ERROR: Could not find a version that satisfies the requirement numpy==2.4.6
ERROR: No matching distribution found for numpy==2.4.6"""
REFUSED = """error: Request failed after 3 retries in 3.1s
  cause: Failed to fetch: http://127.0.0.1:9/simple/numpy/
  cause: tcp connect error"""
NO_WHEEL = """error: No solution found when resolving dependencies
  cause: Because numpy==2.4.6 has no wheels with a matching platform tag (e.g., `linux_riscv64`)"""
UNLOCKED = """error: No solution found when resolving dependencies
  cause: Because you require numpy==2.4.7 and numpy==2.4.6, we can conclude that your
  requirements are unsatisfiable."""
MODES = '`--require-hashes` mode, all requirements must have'


def run(tmp_path: Path, script: str) -> Path:
    log = tmp_path / 'log' / 'step.log'
    run_logged([sys.executable, '-c', script], log, os.environ)
    return log


def test_all_output_is_logged(tmp_path: Path) -> None:
    log = run(tmp_path, "import sys; print('out', flush=True); print('err', file=sys.stderr)")
    assert log.read_text().splitlines()[-2:] == ['out', 'err']


def test_failure_quotes_the_last_lines_and_names_the_log(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match='failed with status 3') as caught:
        run(tmp_path, "print(*range(99), sep='\\n'); raise SystemExit(3)")
    assert str(caught.value).endswith('\n    98')
    assert '\n    10\n' not in str(caught.value)
    assert str(tmp_path / 'log' / 'step.log') in str(caught.value)


@pytest.mark.parametrize(
    ('output', 'message'),
    [
        (UNREACHABLE, 'check the network'),
        (REFUSED, 'check the network'),
        (UNREACHABLE.splitlines()[-1], r'registry has no numpy==2\.4\.6 for'),
        (NO_WHEEL, r'registry has no numpy==2\.4\.6 for'),
        ('Because numpy was not found in the package registry', 'registry has no numpy for'),
        ('ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS', 'mirror'),
        ('  cause: Hash mismatch for `numpy==2.4.6`', 'a mirror that repacks wheels'),
        (UNLOCKED, r'a hash of numpy==2\.4\.7 in .*make lock'),
        (f'{MODES} a hash, but none were provided for: six==1', 'a hash of six==1 .*make lock'),
        (f'{MODES} their versions pinned with `==`, but found: six', "`name==version`.*got 'six'"),
        ('OSError: [Errno 28] No space left on device', 'free some'),
        ('fatal error: x.h: No such file', 'complete output is in'),
    ],
)
def test_known_causes_are_explained(tmp_path: Path, output: str, message: str) -> None:
    with pytest.raises(WorkspaceError, match=message):
        run(tmp_path, f'print({output!r}); raise SystemExit(1)')


def test_missing_program_is_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match='No such file'):
        run_logged(['/nowhere/it'], tmp_path / 'log', {})


def test_no_output_has_no_explanation() -> None:
    assert explain_failure('') == ''


DEMO = """
import time
try:
    print('playing', flush=True)
    time.sleep(30)
except KeyboardInterrupt:
    print('ended well', flush=True)
"""
MAKEFILE = """
demo:
\t@{python} -c 'import os, sys; from mnssd_workspace.process import run_in_foreground; \\
\t\tsys.exit(run_in_foreground(sys.executable, ["python", "demo.py"], os.environ))'
\t@echo next
"""


def read_until(terminal: int, text: bytes) -> bytes:
    output = b''
    while text not in output:
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


def test_command_without_a_terminal_returns_its_status() -> None:
    command = ['python', '-c', 'raise SystemExit(7)']
    assert run_in_foreground(sys.executable, command, os.environ, terminal='/nowhere') == 7


def test_commands_run_after_setup_has_removed_its_own_python(tmp_path: Path) -> None:
    # As `make setup` in a shell with `source .venv/mnssd.bash`.
    python = tmp_path / 'python3'
    python.symlink_to(os.path.realpath(sys.executable))
    script = (
        'import os, pathlib, sys; sys.path.insert(0, sys.argv[1])\n'
        'from mnssd_workspace.process import run_logged\n'
        'os.unlink(sys.executable)\n'
        "print(run_logged(['echo', 'alive'], pathlib.Path(sys.argv[2]), os.environ))"
    )
    result = subprocess.run(
        [python, '-c', script, TOOLS, tmp_path / 'log'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == 'alive'
