"""The status of a run that fails."""

import json
import os
from pathlib import Path
import signal

from mnssd_training.errors import TrainingError
from mnssd_training.train import RunFolder
from mnssd_training.train.interrupt import StopRequest
from mnssd_training.train.progress import Progress
from mnssd_training.train.run_status import run_status
import pytest


@pytest.mark.parametrize(
    'error',
    [
        RuntimeError('DataLoader worker (pid 1) exited unexpectedly'),
        ConnectionResetError(104, 'pid 1 has reset the connection'),
        EOFError('nothing from pid 1'),
    ],
    ids=lambda error: type(error).__name__,
)
def test_dying_workers_do_not_interrupt_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError('DataLoader worker (pid 2) is killed by signal: Killed. ')

    folder = RunFolder(tmp_path)
    write = folder.write_status

    def write_while_a_worker_ends(*args: object) -> None:
        if args[0] == 'failed':
            os.kill(os.getpid(), signal.SIGCHLD)
        write(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(folder, 'write_status', write_while_a_worker_ends)
    before = signal.signal(signal.SIGCHLD, fail)
    try:
        with (
            pytest.raises(TrainingError, match='has died'),
            run_status(folder, Progress(), StopRequest()),
        ):
            raise error
    finally:
        signal.signal(signal.SIGCHLD, before)
    status = json.loads((tmp_path / 'status.json').read_text())
    assert status['status'] == 'failed'
    assert 'pid 1' in status['reason']
