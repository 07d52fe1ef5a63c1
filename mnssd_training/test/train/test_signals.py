"""Signals to a run and its workers."""

import json
import os
from pathlib import Path
import signal
import sys
import time
import traceback

from mnssd_training.cli import train
import pytest
import torch

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason='autograd on CUDA cannot be forked'
)

LONG = [
    'input.size=[64, 80]', 'model.pyramid_channels=8',
    'model.width_mult=0.25', 'training.batch_size=1',
    'training.epochs=500', 'training.workers=2', 'evaluation.every_epochs=500',
    'logging.tensorboard=false', 'logging.every_steps=1',
]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / 'run'


def begin(hit_uav: Path, run: Path) -> int:
    """Train in another session until some steps are done; return the process id."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.setsid()
            os.dup2(os.open(run.with_suffix('.err'), os.O_CREAT | os.O_WRONLY), 2)
            sys.stderr = open(2, 'w', closefd=False)  # noqa: SIM115
            code = train.main(
                ['smoke', f'data.root={hit_uav}', *LONG, '--run', str(run), '--quiet']
            )
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    rows = run / 'metrics.jsonl'
    while not (rows.exists() and rows.read_text().count('\n') >= 2):
        if os.waitpid(child, os.WNOHANG)[0]:
            raise AssertionError(run.with_suffix('.err').read_text())
        time.sleep(0.01)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def status(run: Path) -> dict[str, object]:
    return dict(json.loads((run / 'status.json').read_text()))


@pytest.mark.parametrize(
    ('number', 'code'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=['SIGTERM', 'SIGINT']
)
def test_signal_to_all_processes_saves_a_checkpoint(
    hit_uav: Path, run: Path, number: signal.Signals, code: int
) -> None:
    child = begin(hit_uav, run)
    os.killpg(child, number)
    assert ended(child) == code
    written = status(run)
    assert written['status'] == 'preempted'
    (saved, *_) = sorted((run / 'checkpoints').glob('step-*.pt'), reverse=True)
    assert saved.name == f'step-{written["step"]:08}.pt'
    assert (
        run.with_suffix('.err').read_text()
        == f'stopped by {number.name}; continue with --resume\n'
    )


def test_killed_worker_is_explained(hit_uav: Path, run: Path) -> None:
    child = begin(hit_uav, run)
    workers = Path(f'/proc/{child}/task/{child}/children').read_text().split()
    assert len(workers) == 2
    os.kill(int(workers[0]), signal.SIGKILL)
    assert ended(child) == 1
    assert status(run)['status'] == 'failed'
    (line,) = run.with_suffix('.err').read_text().splitlines()
    assert line.startswith('error: a worker that loads images has died: ')
