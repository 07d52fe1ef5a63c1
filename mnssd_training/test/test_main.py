"""``python -m mnssd_training``: the verbs in processes of their own."""

from collections.abc import Callable, Sequence
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from mnssd_training.__main__ import main, VERBS
from mnssd_training.train import load_checkpoint
import pytest

ROOT = Path(__file__).parents[2]

Start = Callable[[Sequence[object]], subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start the program in an empty folder."""
    paths = [str(ROOT / 'mnssd_perception'), str(ROOT / 'mnssd_training')]
    given = os.environ.get('PYTHONPATH')
    environment = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join(paths + ([given] if given else [])),
        'OMP_NUM_THREADS': '1',
    }

    def popen(arguments: Sequence[object]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, '-m', 'mnssd_training', *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return popen


@pytest.mark.parametrize('arguments', [[], ['--help'], ['-h']])
def test_help_lists_the_verbs(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments or ['--help']) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in VERBS)


def test_a_verb_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['fly']) == 2
    assert "error: no verb 'fly'" in capsys.readouterr().err


def test_a_verb_is_handed_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(['train', '--help'])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith('usage: train ')


def test_an_error_is_one_line_and_no_traceback(start: Start) -> None:
    process = start(['train', 'smoke', 'data.root=gone', '--run', 'run'])
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert out == ''
    assert err == 'error: gone/classes.txt: no such file\n'


@pytest.mark.slow
@pytest.mark.parametrize(
    ('number', 'code', 'workers'),
    [(signal.SIGINT, 130, 1), (signal.SIGTERM, -signal.SIGTERM, 1), (signal.SIGKILL, -9, 0)],
)
def test_a_run_that_is_stopped_from_outside_can_go_on(
    start: Start, hit_uav: Path, tmp_path: Path, number: int, code: int, workers: int
) -> None:
    arguments = ['train', 'smoke', f'data.root={hit_uav}', 'input.size=[96, 120]']
    arguments += ['model.channels=16', 'training.batch_size=2', 'training.epochs=10000']
    arguments += ['training.save_every=1', f'training.workers={workers}']
    arguments += ['training.evaluate_every=10000', '--run', 'run', '--quiet']
    process = start(arguments)
    last = tmp_path / 'run' / 'last.pt'
    deadline = time.monotonic() + 100
    while not last.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert 'Traceback' not in err
    if number == signal.SIGINT:
        assert err.splitlines()[-1] == 'interrupted'
    checkpoint = load_checkpoint(last)
    assert checkpoint.step > 0
    assert checkpoint.training is not None
