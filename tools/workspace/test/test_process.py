"""Commands that fail, and what is made of their words."""

import os
from pathlib import Path
import sys

from mnssd_workspace.errors import (
    CommandError,
    DiskFullError,
    HashError,
    MissingWheelError,
    NetworkError,
    WorkspaceError,
)
from mnssd_workspace.process import diagnose, run_logged
import pytest

UNREACHABLE = """WARNING: Retrying (Retry(total=4)) after connection broken by
'NewConnectionError('<HTTPConnection>: Failed to establish a new connection')': /simple/numpy/
ERROR: Could not find a version that satisfies the requirement numpy==2.4.6
ERROR: No matching distribution found for numpy==2.4.6"""

WRONG_HASH = 'ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.'


def run(tmp_path: Path, script: str) -> Path:
    log = tmp_path / 'log' / 'step.log'
    run_logged('it', [sys.executable, '-c', script], cwd=tmp_path, env=os.environ, log=log)
    return log


def test_all_that_is_written_is_logged(tmp_path: Path) -> None:
    log = run(tmp_path, "import sys; print('out', flush=True); print('err', file=sys.stderr)")
    assert log.read_text().splitlines()[-2:] == ['out', 'err']


def test_a_failure_quotes_its_end_and_names_the_log(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match='status 3') as caught:
        run(tmp_path, "print(*range(99), sep='\\n'); raise SystemExit(3)")
    assert caught.value.status == 3
    assert str(caught.value).endswith('\n    98')
    assert '\n    10\n' not in str(caught.value)
    assert str(caught.value.log) in str(caught.value)


@pytest.mark.parametrize(
    ('words', 'error', 'way_out'),
    [
        (UNREACHABLE, NetworkError, 'check the network'),
        (UNREACHABLE.splitlines()[-1], MissingWheelError, r'has no numpy==2\.4\.6 for'),
        (WRONG_HASH, HashError, 'a mirror that repacks wheels'),
        ('OSError: [Errno 28] No space left on device', DiskFullError, 'free some'),
        ('fatal error: x.h: No such file', CommandError, 'whole output is in'),
    ],
)
def test_known_causes_are_told_apart(
    tmp_path: Path, words: str, error: type[WorkspaceError], way_out: str
) -> None:
    with pytest.raises(WorkspaceError, match=way_out) as caught:
        run(tmp_path, f'print({words!r}); raise SystemExit(1)')
    assert type(caught.value) is error


def test_a_missing_program_is_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match='No such file'):
        run_logged('it', ['/nowhere/it'], cwd=tmp_path, env={}, log=tmp_path / 'log')


def test_silence_is_unknown() -> None:
    assert diagnose('') == 'unknown'
