"""
Kill a run at random moments and resume it, until it is done: not a bit may differ at its end.

``python kill_and_resume.py DATA --kills 20`` does it as often as one likes, the tests a few times.
"""

from argparse import ArgumentParser
from collections.abc import Callable
import json
import os
from pathlib import Path
import random
import signal
import sys
import tempfile
import time
from typing import Any

from mnssd_training.config import Experiment, load_experiment
from mnssd_training.train import RunFolder, train
import torch

CHANGES = (
    'input.size=[64, 80]',
    'model.channels=8',
    'model.width=0.25',
    'training.batch_size=1',
    'training.multi_scale=[0.8, 1.3]',
    'evaluation.every=2',
    'checkpoint.every_steps=3',
    'logging.every_steps=3',
    'logging.tensorboard=false',
)
BEGINNING = 1.0  # seconds, about, until the first step
NOT_OF_THE_RESULT = ('images_per_second', 'data_wait', 'seconds')


def train_in_a_process(experiment: Experiment, run: Path) -> int:
    """Train in a forked process; return its id."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            train(experiment, run, resume=True, progress=False)
            status = 0
        finally:
            os._exit(status)
    return child


def wait(child: int, seconds: float) -> int | None:
    """Wait for a process to end by itself; None if it still runs."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def kill_and_resume(
    experiment: Experiment,
    run: Path,
    seconds: float,
    kills: int,
    generator: random.Random,
    say: Callable[[str], object] = lambda _: None,
) -> int:
    """
    Train, killed at random moments.

    :param experiment: what to train.
    :param run: its folder.
    :param seconds: that the run takes alone.
    :param kills: how often it is killed, if it is not done before.
    :param generator: of the moments.
    :param say: is told what happens.
    :return: how often it was killed.
    """
    killed = 0
    while True:
        child = train_in_a_process(experiment, run)
        moment = generator.uniform(0, BEGINNING + 2.5 * seconds / max(1, kills))
        status = wait(child, moment if killed < kills else 3600)
        if status == 0:
            return killed
        assert status is None, f'training failed with {status}'
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        killed += 1
        found = RunFolder(run).newest()
        step = found.checkpoint.step if found else 0
        say(f'killed after {moment:.2f} s; resumes from step {step}')


def differences(one: Path, other: Path) -> list[str]:
    """Compare all that two runs have come to, to the bit; empty if nothing differs."""
    found = []
    for name in ('last', 'best'):
        a, b = (_checkpoint(run, name) for run in (one, other))
        found += _differences(a, b, name)
    found += _differences(_rows(one), _rows(other), 'metrics.jsonl')
    return found


def _checkpoint(run: Path, name: str) -> Any:
    """Read what is in the last or the best checkpoint."""
    newest = sorted((run / 'checkpoints').glob('step-*.pt'))[-1]
    path = newest if name == 'last' else run / 'checkpoints' / 'best.pt'
    return torch.load(path, weights_only=True)


def _rows(run: Path) -> list[dict[str, Any]]:
    """Read the rows of numbers, without how long things took."""
    rows = [json.loads(line) for line in (run / 'metrics.jsonl').read_text().splitlines()]
    return [
        {key: value for key, value in row.items() if key not in NOT_OF_THE_RESULT} for row in rows
    ]


def _differences(one: Any, other: Any, where: str) -> list[str]:
    """Compare nested values to the bit."""
    if isinstance(one, torch.Tensor):
        same = one.dtype == other.dtype and torch.equal(one, other)
        return [] if same else [where]
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [d for key in one for d in _differences(one[key], other[key], f'{where}.{key}')]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            d for i, two in enumerate(zip(one, other)) for d in _differences(*two, f'{where}.{i}')
        ]
    return [] if one == other else [f'{where}: {one} and {other}']


def main() -> int:
    """Kill a run as often as is asked for."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('data', help='a data set in VOC layout')
    parser.add_argument('--kills', type=int, default=20)
    parser.add_argument('--epochs', type=int, default=8)
    parser.add_argument('--workers', type=int, default=0)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)  # threads do not outlive a fork
    overrides = [f'data.root={args.data}', *CHANGES]
    overrides += [f'training.epochs={args.epochs}', f'training.workers={args.workers}']
    experiment = load_experiment('smoke', overrides)
    with tempfile.TemporaryDirectory() as folder:
        straight, run = Path(folder) / 'straight', Path(folder) / 'killed'
        started = time.monotonic()
        assert wait(train_in_a_process(experiment, straight), 3600) == 0
        seconds = time.monotonic() - started
        print(f'alone it takes {seconds:.1f} s')
        killed = kill_and_resume(
            experiment, run, seconds, args.kills, random.Random(args.seed), print
        )
        wrong = differences(straight, run)
    print(f'killed {killed} times; {len(wrong)} differences at the end', *wrong[:20], sep='\n')
    return 1 if wrong or killed < args.kills else 0


if __name__ == '__main__':
    sys.exit(main())
