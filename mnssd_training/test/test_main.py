"""``python -m mnssd_training``: the verbs in processes of their own."""

from collections.abc import Callable, Sequence
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from mnssd_training.__main__ import COMMANDS, main
from mnssd_training.train import load_checkpoint
import pytest

ROOT = Path(__file__).parents[2]

NAMES = sorted(command.name for command in COMMANDS)

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


@pytest.mark.parametrize('name', NAMES)
def test_a_command_is_handed_its_arguments(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([name, '--help'])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith(f'usage: mnssd {name} ')


def test_ros2_run_knows_every_command() -> None:
    """What setup.py installs is what there is."""
    script = (
        'import setuptools, runpy\n'
        'setuptools.setup = lambda **k: print(*k["entry_points"]["console_scripts"], sep="\\n")\n'
        'runpy.run_path("setup.py")'
    )
    told = subprocess.run(
        [sys.executable, '-c', script],
        cwd=ROOT / 'mnssd_training',
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    modules = {command.name: command.module for command in COMMANDS}
    assert told.splitlines() == [f'{name} = {modules[name]}:main' for name in NAMES]


def test_an_error_is_one_line_and_no_traceback(start: Start) -> None:
    process = start(['train', 'smoke', 'data.root=gone', '--run', 'run', '--quiet'])
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert out == ''
    assert err == 'error: gone: no such folder; set data.root to that of the dataset\n'


@pytest.mark.slow
@pytest.mark.parametrize(
    ('number', 'code', 'workers'),
    [(signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 1), (signal.SIGKILL, -9, 0)],
    ids=['SIGINT', 'SIGTERM', 'SIGKILL'],
)
def test_a_run_that_is_stopped_from_outside_can_go_on(
    start: Start, hit_uav: Path, tmp_path: Path, number: int, code: int, workers: int
) -> None:
    arguments = ['train', 'smoke', f'data.root={hit_uav}', 'input.size=[96, 120]']
    arguments += ['model.pyramid_channels=16', 'training.batch_size=2', 'training.epochs=10000']
    arguments += ['checkpoint.every_steps=1', f'training.workers={workers}']
    arguments += [
        'evaluation.every_epochs=10000',
        'logging.tensorboard=false',
        '--run',
        'run',
        '--quiet',
    ]
    process = start(arguments)
    checkpoints = tmp_path / 'run' / 'checkpoints'
    deadline = time.monotonic() + 100
    while (
        not list(checkpoints.glob('step-*.pt'))
        and time.monotonic() < deadline
        and process.poll() is None
    ):
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert 'Traceback' not in err
    if number != signal.SIGKILL:
        assert err.splitlines()[-1] == (
            f'stopped by {signal.Signals(number).name}; continue with --resume'
        )
        status = json.loads((tmp_path / 'run' / 'status.json').read_text())
        assert status['status'] == 'preempted'
    checkpoint = load_checkpoint(max(checkpoints.glob('step-*.pt')))
    assert checkpoint.step > 0
    assert checkpoint.training is not None
