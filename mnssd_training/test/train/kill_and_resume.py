"""
Kill a run at random moments and resume it, until it is done: not a bit may differ at its end.

``python kill_and_resume.py DATA --kills 30`` does it as often as one likes, the tests a few times.
Each process is killed at a random moment after its first checkpoint, so that each gets on.
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
    'model.pyramid_channels=8',
    'model.width_mult=0.25',
    'training.batch_size=1',
    'training.multi_scale=[0.8, 1.3]',
    'evaluation.every_epochs=2',
    'checkpoint.every_steps=3',
    'logging.every_steps=3',
    'logging.tensorboard=false',
)
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


def wait(child: int, is_enough: Callable[[], bool] = lambda: False) -> int | None:
    """Wait until a process ends, or a condition holds; None if it still runs."""
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if is_enough():
            return None
        time.sleep(0.002)


def newest_step(run: Path) -> int:
    """Read the step of the newest checkpoint from its name; 0 for none."""
    return max((int(path.stem[5:]) for path in run.glob('checkpoints/step-*.pt')), default=0)


def kill_and_resume(
    experiment: Experiment,
    run: Path,
    kills: int,
    spread: float,
    generator: random.Random,
    say: Callable[[str], object] = lambda _: None,
) -> int:
    """
    Train, killed at random moments.

    :param experiment: what to train.
    :param run: its folder.
    :param kills: how often it is killed, if it is not done before.
    :param spread: seconds after the first checkpoint of a process within which it is killed.
    :param generator: of the moments.
    :param say: is told what happens.
    :return: how often it was killed.
    """
    for killed in range(kills):
        before, moment = newest_step(run), generator.uniform(0, spread)
        if is_done_before(experiment, run, moment):
            return killed
        found = RunFolder(run).newest()
        assert found
        assert not found.damaged
        say(
            f'began at step {before}, killed {moment:.3f} s after a checkpoint; '
            f'resumes from step {found.checkpoint.step}'
        )
    assert wait(train_in_a_process(experiment, run)) == 0
    return kills


def is_done_before(experiment: Experiment, run: Path, moment: float) -> bool:
    """Train, and kill the process some seconds after its first checkpoint, unless it finishes."""
    before = newest_step(run)
    child = train_in_a_process(experiment, run)
    status = wait(child, lambda: newest_step(run) > before)
    if status is None:
        end = time.monotonic() + moment
        status = wait(child, lambda: time.monotonic() > end)
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert not status, f'training failed with {status}'
    return status == 0


def differences(one: Path, other: Path) -> list[str]:
    """List the differences between the results of two runs, bit by bit."""
    found = []
    for name in ('last', 'best'):
        a, b = (_checkpoint(run, name) for run in (one, other))
        found += _differences(a, b, name)
    found += _differences(_rows(one), _rows(other), 'metrics.jsonl')
    return found


def _checkpoint(run: Path, name: str) -> Any:
    """Read the last or the best checkpoint."""
    newest = sorted((run / 'checkpoints').glob('step-*.pt'))[-1]
    path = newest if name == 'last' else run / 'checkpoints' / 'best.pt'
    return torch.load(path, weights_only=True)


def _rows(run: Path) -> list[dict[str, Any]]:
    """Read the metrics, without times."""
    rows = [json.loads(line) for line in (run / 'metrics.jsonl').read_text().splitlines()]
    return [
        {key: value for key, value in row.items() if key not in NOT_OF_THE_RESULT} for row in rows
    ]


def _differences(one: Any, other: Any, where: str) -> list[str]:
    """List the differences between nested values."""
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
    """Kill a run a number of times."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('data', help='a dataset in VOC layout')
    parser.add_argument('--kills', type=int, default=30)
    parser.add_argument('--workers', type=int, default=0)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)  # threads do not outlive a fork
    overrides = [f'data.root={args.data}', *CHANGES]
    overrides += [f'training.epochs={3 * args.kills}', f'training.workers={args.workers}']
    experiment = load_experiment('smoke', overrides)
    with tempfile.TemporaryDirectory() as folder:
        straight, run = Path(folder) / 'straight', Path(folder) / 'killed'
        started = time.monotonic()
        assert wait(train_in_a_process(experiment, straight)) == 0
        seconds = time.monotonic() - started
        print(f'alone it takes {seconds:.1f} s')
        spread = seconds / args.kills / 2  # so that it is not done before the last kill
        killed = kill_and_resume(
            experiment, run, args.kills, spread, random.Random(args.seed), print
        )
        wrong = differences(straight, run)
    print(f'killed {killed} times; {len(wrong)} differences at the end', *wrong[:20], sep='\n')
    return 1 if wrong or killed < args.kills else 0


if __name__ == '__main__':
    sys.exit(main())
