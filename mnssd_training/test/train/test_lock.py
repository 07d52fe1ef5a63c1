"""The lock of a run folder: held by one process, released when it ends."""

from collections.abc import Callable
import errno
import fcntl
import os
from pathlib import Path
import signal
import socket
import sys

from mnssd_training.config import Experiment
from mnssd_training.errors import TrainingError
from mnssd_training.train import train
from mnssd_training.train.lock import lock_folder
import pytest

Forked = Callable[[Callable[[], object]], int]


def hold(folder: Path, then: Callable[[], object] = lambda: None) -> int:
    """Lock a folder in another process until that is killed; return its id."""
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        with lock_folder(folder):
            then()
            os.write(tell, b'x')
            signal.pause()
        os._exit(0)
    os.read(ready, 1)
    os.close(ready)
    os.close(tell)
    return child


def kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_unused_folder_is_removed(tmp_path: Path) -> None:
    run = tmp_path / 'run'
    with lock_folder(run) as note:
        assert note == ''
        assert [path.name for path in run.iterdir()] == ['run.lock']
    assert not run.exists()
    with lock_folder(run):
        (run / 'status.json').write_text('{}')
    assert sorted(path.name for path in run.iterdir()) == ['run.lock', 'status.json']


def test_second_process_is_refused_naming_the_holder(tmp_path: Path) -> None:
    child = hold(tmp_path / 'run')
    words = rf'another process trains in this folder \(host {socket.gethostname()}, pid {child}, '
    try:
        with pytest.raises(TrainingError, match=words), lock_folder(tmp_path / 'run'):
            pass
    finally:
        kill(child)
    with lock_folder(tmp_path / 'run'):
        pass


def test_killed_process_releases_the_lock_while_its_workers_live(
    tmp_path: Path,
) -> None:
    read, write = os.pipe()

    def fork_a_worker() -> None:
        worker = os.fork()
        if worker == 0:
            signal.pause()
        os.write(write, str(worker).encode())

    child = hold(tmp_path / 'run', fork_a_worker)
    worker = int(os.read(read, 100))
    kill(child)
    try:
        with lock_folder(tmp_path / 'run'):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)


def test_second_run_in_a_folder_changes_nothing(
    tiny: Callable[..., Experiment], forked: Forked, without_validation: None, tmp_path: Path
) -> None:
    run = tmp_path / 'run'
    train(tiny(**{'training.epochs': 1}), run, progress=False)
    before = {path: path.read_bytes() for path in run.rglob('*') if path.is_file()}

    def resume() -> None:
        try:
            train(tiny(**{'training.epochs': 1}), run, resume=True, progress=False)
        except TrainingError as error:
            sys.exit(42 if 'another process trains in this folder' in str(error) else 43)

    with lock_folder(run):
        held = (run / 'run.lock').read_bytes()
        assert forked(resume) == 42
        before[run / 'run.lock'] = held
        assert {path: path.read_bytes() for path in run.rglob('*') if path.is_file()} == before
    assert forked(resume) == 0


def test_file_system_without_locks_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', fail)
    with lock_folder(tmp_path / 'run') as note:
        assert 'its file system has no locks (No locks available); make sure' in note


def test_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('in the way')
    with (
        pytest.raises(TrainingError, match='cannot be written: Not a directory'),
        lock_folder(tmp_path / 'file' / 'run'),
    ):
        pass
