"""Several processes train the weights of one: DDP over gloo, torchrun, elastic resume."""

from collections.abc import Callable
import json
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
from typing import Any

from mnssd_perception.errors import MnssdError
from mnssd_training.config import Experiment
from mnssd_training.errors import CheckpointError, DatasetError, TrainingError
from mnssd_training.model import build_model
from mnssd_training.train import loop, Preempted, RunFolder, state, StopRequest, train
from mnssd_training.train.step import forward_backward
import pytest
import torch
from torch import nn

Side = Callable[[int, Callable[[int], object]], list[int]]

# Sums of float32 in another order, over some steps. AdamW would blow a last bit up to a whole step
# where a gradient is next to nothing, and so would the choice of the hardest of equal negatives.
CHANGES = {
    'loss.classification': 'focal',
    'optimizer.name': 'sgd',
    'optimizer.learning_rate': 0.05,
    'optimizer.clip_grad_norm': 1.0,
    'scheduler.warmup_steps': 0,
    'training.epochs': 3,
    'training.batch_size': 4,
}
NUMBERS = ('loss', 'class_loss', 'box_loss', 'gradient_norm', 'learning_rate')


@pytest.fixture(autouse=True)
def _calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Keep normalisation from dividing by next to nothing.

    It does in a fresh narrow network, and turns rounding into a tenth of the gradient, whether
    there are several processes or only another order of the images.
    """

    def calm(*args: Any) -> Any:
        network = build_model(*args)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 1.0
        return network

    monkeypatch.setattr(state, 'build_model', calm)


def compare(one: Path, other: Path) -> None:
    """Assert that two runs have the same weights, statistics and metrics."""
    a, b = (RunFolder(run).newest() for run in (one, other))
    assert a and b
    assert a.checkpoint.training and b.checkpoint.training
    assert a.checkpoint.step == b.checkpoint.step
    first, begun = numbers(one), numbers(other)
    assert len(first) == len(begun) == 3
    for here, there in zip(first, begun):
        assert there == pytest.approx(here, rel=1e-4)
    for mine, yours in (
        (a.checkpoint.training['model'], b.checkpoint.training['model']),
        (a.checkpoint.weights, b.checkpoint.weights),
    ):
        for key, value in mine.items():
            torch.testing.assert_close(yours[key], value, rtol=1e-4, atol=1e-5)


def numbers(run: Path) -> list[list[float]]:
    rows = [json.loads(line) for line in (run / 'metrics.jsonl').read_text().splitlines()]
    return [[row[name] for name in NUMBERS] for row in rows if row['kind'] == 'step']


@pytest.fixture
def one(tiny: Callable[..., Experiment], tmp_path: Path) -> Path:
    """A run of one process."""
    train(tiny(**CHANGES), tmp_path / 'one', progress=False)
    return tmp_path / 'one'


def test_two_processes_train_the_weights_of_one(
    tiny: Callable[..., Experiment], run_ranks: Side, one: Path, tmp_path: Path
) -> None:
    two = tmp_path / 'two'
    assert run_ranks(2, lambda _: train(tiny(**CHANGES), two, progress=False)) == [0, 0]
    compare(one, two)
    status = json.loads((two / 'status.json').read_text())
    assert (status['status'], status['step']) == ('success', 3)


def test_two_processes_assign_and_train_as_one(
    tiny: Callable[..., Experiment], run_ranks: Side, tmp_path: Path
) -> None:
    """The processes divide by the sum of the qualities of all."""
    wanted = tiny(**CHANGES | {'matching.method': 'tal', 'loss.classification': 'varifocal'})
    train(wanted, tmp_path / 'one', progress=False)
    assert run_ranks(2, lambda _: train(wanted, tmp_path / 'two', progress=False)) == [0, 0]
    compare(tmp_path / 'one', tmp_path / 'two')


def test_accumulation_trains_the_same_weights_with_frozen_norms(
    tiny: Callable[..., Experiment], run_ranks: Side, tmp_path: Path
) -> None:
    """Batch statistics of micro-batches differ from those of the batch, so norms are frozen."""

    def wanted(parts: int) -> Experiment:
        frozen = {'model.frozen_norm': 'true', 'model.pyramid': 'plain', 'model.head': 'plain'}
        return tiny(**CHANGES, **frozen, **{'training.grad_accum_steps': parts})

    train(wanted(1), tmp_path / 'one', progress=False)
    train(wanted(2), tmp_path / 'parts', progress=False)
    compare(tmp_path / 'one', tmp_path / 'parts')
    both = tmp_path / 'both'
    assert run_ranks(2, lambda _: train(wanted(2), both, progress=False)) == [0, 0]
    compare(tmp_path / 'one', both)


def test_two_processes_distil_the_weights_of_one(
    tiny: Callable[..., Experiment], run_ranks: Side, tmp_path: Path
) -> None:
    """The adapters, which DDP reduces too, make the gradients of the network."""
    teachers = []
    for width in (0.25, 0.35):
        wanted = tiny(**{**CHANGES, 'model.width_mult': width, 'training.epochs': 1})
        train(wanted, tmp_path / f'teacher{width}', progress=False)
        teachers.append(str(tmp_path / f'teacher{width}' / 'checkpoints' / 'best.pt'))
    distilled = tiny(
        **CHANGES,
        **{'distillation.teachers': json.dumps(teachers), 'distillation.feature_weight': 3},
    )
    one, two = tmp_path / 'one', tmp_path / 'two'
    train(distilled, one, progress=False)
    assert run_ranks(2, lambda _: train(distilled, two, progress=False)) == [0, 0]
    compare(one, two)


def test_run_resumes_with_another_number_of_processes(
    tiny: Callable[..., Experiment], run_ranks: Side, one: Path, tmp_path: Path
) -> None:
    run = tmp_path / 'elastic'

    def stopped(rank: int) -> None:
        stop = StopRequest()
        if rank == 1:
            stop.handle_signal(signal.SIGTERM)  # only one of them is written
        try:
            train(tiny(**CHANGES), run, progress=False, stop=stop)
        except Preempted as preempted:
            sys.exit(128 + preempted.signum)

    assert run_ranks(2, stopped) == [143, 143]
    status = json.loads((run / 'status.json').read_text())
    assert (status['status'], status['step']) == ('preempted', 1)
    train(tiny(**CHANGES), run, resume=True, progress=False)
    compare(one, run)


@pytest.mark.parametrize('what', ['image', 'loss', 'checkpoint'])
def test_error_of_one_rank_is_raised_on_all(
    tiny: Callable[..., Experiment],
    run_ranks: Side,
    hit_uav: Path,
    tmp_path: Path,
    what: str,
) -> None:
    root, run = tmp_path / 'data', tmp_path / 'run'
    shutil.copytree(hit_uav, root)
    wanted = tiny(**CHANGES, **{'data.root': root})
    expected: type[MnssdError]
    expected, words = {
        'image': (DatasetError, '0_60_70_0_06611'),
        'loss': (TrainingError, '0_60_70_0_06611'),
        'checkpoint': (CheckpointError, 'already holds a run'),
    }[what]

    def fail(rank: int) -> None:
        if what == 'image':
            (root / 'JPEGImages' / '0_60_70_0_06611.jpg').unlink(missing_ok=True)
        elif what == 'checkpoint':
            (run / 'checkpoints').mkdir(parents=True, exist_ok=True)
            (run / 'checkpoints' / 'step-00000001.pt').write_bytes(b'')
        else:
            loop.forward_backward = lambda *args: (
                forward_backward(*args) * (torch.nan if rank else 1)
            )  # type: ignore[attr-defined]
        try:
            train(wanted, run, progress=False)
        except expected as error:
            sys.exit(42 if words in str(error) else 43)

    assert run_ranks(2, fail) == [42, 42]


@pytest.mark.slow
def test_torchrun(hit_uav: Path, tmp_path: Path) -> None:
    run = tmp_path / 'run'
    command = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
    command += f'-m mnssd_training train smoke --resume data.root={hit_uav}'.split()
    command += ['input.size=[64, 80]', 'model.width_mult=0.25', 'training.batch_size=4']
    command = [sys.executable, *command, '--run-folder', str(run)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=280,
        env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path), 'OMP_NUM_THREADS': '1'},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('trained 1 steps') == 1
    assert '2 x cpu' in done.stdout
    assert json.loads((run / 'status.json').read_text())['status'] == 'success'
