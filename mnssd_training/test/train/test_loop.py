"""The training loop on real images: results and errors."""

from collections.abc import Callable
import json
import os
from pathlib import Path
import shutil
import signal
from typing import Any

from mnssd_perception.files import write_atomically
from mnssd_perception.ssd import ModelSpec
from mnssd_training.config import Experiment
from mnssd_training.errors import CheckpointError, ConfigError, DatasetError, TrainingError
from mnssd_training.train import (
    checkpoint,
    handle_signals,
    load_checkpoint,
    loop,
    Preempted,
    state,
    StopRequest,
    train,
)
import pytest
import torch

Make = Callable[..., Experiment]

TRAIN = {'0_60_50_0_06519', '0_60_70_0_06611', '0_70_90_0_06875', '1_60_80_0_07504'}
SCORES = {'map50': 0.25, 'coco': {'ap': 0.125}}


def rows(run: Path, kind: str = 'epoch') -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / 'metrics.jsonl').read_text().splitlines()]
    return [row for row in found if row['kind'] == kind]


def status(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / 'status.json').read_text()))


def newest_checkpoint(run: Path) -> Path:
    return sorted((run / 'checkpoints').glob('step-*.pt'))[-1]


# --- running ---------------------------------------------------------------------------------


def test_checkpoints_at_the_end_of_some_epochs(
    tiny: Make, without_validation: None, tmp_path: Path
) -> None:
    wanted = tiny(
        **{
            'training.epochs': 7,
            'evaluation.every_epochs': 5,
            'checkpoint.every_epochs': 3,
            'checkpoint.keep_last': 100,
        }
    )
    last = train(wanted, tmp_path, progress=False)
    steps = [int(path.stem[5:]) for path in sorted((tmp_path / 'checkpoints').glob('step-*.pt'))]
    per_epoch = last.step // 7
    assert [step / per_epoch for step in steps] == [3, 5, 6, 7]


def test_signal_at_the_end_of_an_epoch_saves_it(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, end_epoch = StopRequest(), loop.Reporter.end_epoch

    def end_and_signal(reporter: loop.Reporter, metrics: dict[str, Any]) -> str:
        stop.handle_signal(15)
        return end_epoch(reporter, metrics)

    monkeypatch.setattr(loop.Reporter, 'end_epoch', end_and_signal)
    wanted = tiny(
        **{
            'training.epochs': 4,
            'checkpoint.every_epochs': 4,
            'evaluation.every_epochs': 4,
        }
    )
    with pytest.raises(Preempted):
        train(wanted, tmp_path, progress=False, stop=stop)
    assert load_checkpoint(newest_checkpoint(tmp_path)).step == 2


def test_contents_of_a_run_folder(tiny: Make, tmp_path: Path) -> None:
    run = tmp_path / 'deep' / 'run'
    wanted = tiny(
        **{'evaluation.every_epochs': 2, 'training.epochs': 3, 'logging.tensorboard': 'true'}
    )
    last = train(wanted, run, progress=False, arguments=['smoke'])
    assert {path.name for path in run.iterdir()} == {
        'args.json', 'checkpoints', 'config.json', 'fingerprint.json', 'metrics.jsonl', 'run.lock',
        'status.json', 'tensorboard', 'train.log',
    }  # fmt: skip
    assert {path.name for path in (run / 'checkpoints').iterdir()} == {
        'step-00000004.pt', 'step-00000006.pt', 'best.pt'
    }  # fmt: skip
    assert [(row['epoch'], row['step'], 'map50' in row) for row in rows(run)] == [
        (1, 2, False),
        (2, 4, True),
        (3, 6, True),  # the last is always scored
    ]
    steps = rows(run, 'step')
    assert [row['step'] for row in steps] == [1, 2, 3, 4, 5, 6]
    for first, second, epoch in zip(steps[::2], steps[1::2], rows(run)):
        assert epoch['loss'] == pytest.approx((first['loss'] + second['loss']) / 2)
        assert first['loss'] == pytest.approx(first['class_loss'] + first['box_loss'])
        assert first['images_per_second'] > 0
        assert 0 <= first['data_wait'] <= 1
    written = status(run)
    assert (written['status'], written['step'], written['epoch'], written['reason']) == (
        'success',
        6,
        3,
        '',
    )
    assert json.loads((run / 'config.json').read_text()) == last.experiment
    saved, best = (
        load_checkpoint(newest_checkpoint(run)),
        load_checkpoint(run / 'checkpoints' / 'best.pt'),
    )
    assert (saved.step, best.training) == (6, None)
    assert saved.metrics == last.metrics
    assert (
        best.metrics['map50'] == max(row.get('map50', 0) for row in rows(run)) == written['best']
    )
    assert best.build().spec == last.spec
    log = (run / 'train.log').read_text()
    assert '4 training images, 4 validation images, 4 classes' in log
    assert 'epoch 3/3: loss' in log


@pytest.mark.parametrize(
    'changes',
    [
        {'training.precision': 'bf16', 'input.resize': 'letterbox', 'model.frozen_blocks': 4},
        {'training.precision': 'fp16', 'optimizer.name': 'sgd', 'training.batch_size': 3},
        {
            'training.gradient_checkpointing': 'true',
            'training.ema_decay': 0,
            'loss.localization': 'ciou',
        },
        {
            'training.grad_accum_steps': 2,
            'training.channels_last': 'false',
            'optimizer.clip_grad_norm': 0,
        },
        {'training.deterministic': 'true', 'training.progressive_resizing': '[[0.5, 1.5]]'},
    ],
    ids=['bf16', 'fp16', 'checkpointing', 'grad_accum_steps', 'deterministic'],
)
def test_training_options(
    tiny: Make, tmp_path: Path, without_validation: None, changes: dict[str, Any]
) -> None:
    try:
        last = train(tiny(**{'training.epochs': 1, **changes}), tmp_path / 'run', progress=False)
    finally:
        torch.use_deterministic_algorithms(False)
    assert last.step == 4 // tiny(**changes).training.batch_size
    assert all(torch.isfinite(value).all() for value in last.weights.values())
    assert last.training
    if 'training.ema_decay' in changes:
        for key, value in last.training['model'].items():
            assert torch.equal(last.weights[key], value)
    assert bool(last.training['scaler']) == (changes.get('training.precision') == 'fp16')


def test_batch_is_never_larger_than_the_training_set(
    tiny: Make, tmp_path: Path, without_validation: None
) -> None:
    changes = tiny(**{'training.batch_size': 64, 'training.epochs': 1})
    assert train(changes, tmp_path / 'run', progress=False).step == 1


def test_best_checkpoint_is_the_last_without_a_validation_set(tiny: Make, tmp_path: Path) -> None:
    last = train(tiny(**{'data.val_split': "''"}), tmp_path / 'run', progress=False)
    best = load_checkpoint(tmp_path / 'run' / 'checkpoints' / 'best.pt')
    assert (best.step, best.metrics) == (4, {})
    assert all(torch.equal(best.weights[key], value) for key, value in last.weights.items())


def test_early_stopping_ends_the_run_for_good(
    tiny: Make, tmp_path: Path, without_validation: None
) -> None:
    wanted = tiny(
        **{'training.epochs': 9, 'training.early_stopping_patience': 2,
           'evaluation.every_epochs': 1,
           'evaluation.monitor': 'ap'}
    )  # fmt: skip
    assert train(wanted, tmp_path / 'run', progress=False).step == 6
    assert train(wanted, tmp_path / 'run', resume=True, progress=False).step == 6
    assert status(tmp_path / 'run')['best'] == 0.125


# --- what goes wrong -------------------------------------------------------------------------


@pytest.mark.parametrize('what', ['loss', 'gradient'])
def test_non_finite_step_names_its_images_and_is_not_saved(
    tiny: Make,
    replace_step: Callable[[int, Callable[..., Any]], None],
    without_validation: None,
    tmp_path: Path,
    what: str,
) -> None:
    def explode(forward_backward: Any, *args: Any) -> torch.Tensor:
        losses = forward_backward(*args)
        if what == 'loss':
            return losses * torch.nan
        next(p for p in args[0].network.parameters() if p.grad is not None).grad.fill_(torch.inf)
        return losses

    replace_step(3, explode)
    with pytest.raises(
        TrainingError, match=r'expected a finite loss .* in step 3; the batch was '
    ) as caught:
        train(tiny(**{'checkpoint.every_steps': 1}), tmp_path / 'run', progress=False)
    named = set(str(caught.value).partition('the batch was ')[2].split(', '))
    assert len(named) == 2
    assert named < TRAIN
    saved = load_checkpoint(newest_checkpoint(tmp_path / 'run'))
    assert saved.step == 3
    assert saved.training is not None
    assert all(torch.isfinite(value).all() for value in saved.training['model'].values())
    written = status(tmp_path / 'run')
    assert (written['status'], written['step']) == ('failed', 3)
    assert written['reason'] == str(caught.value)


@pytest.mark.parametrize('workers', [0, 1])
def test_unreadable_image_is_named(
    tiny: Make, hit_uav: Path, tmp_path: Path, workers: int
) -> None:
    root = tmp_path / 'data'
    shutil.copytree(hit_uav, root)
    truncated = root / 'JPEGImages' / '0_60_70_0_06611.jpg'
    truncated.write_bytes(truncated.read_bytes()[:9000])
    changes = {'data.root': root, 'training.workers': workers}
    with pytest.raises(DatasetError, match='a JPEG that is cut short') as caught:
        train(tiny(**changes), tmp_path / 'run', progress=False)
    assert caught.value.path == truncated
    assert status(tmp_path / 'run')['status'] == 'failed'


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        (
            'DataLoader worker (pid 7) is killed by signal: Killed.',
            'a worker that loads images has died',
        ),
        ('CUDA out of memory', 'out of memory.* lower training.batch_size'),
        ('[gloo] Connection closed by peer', 'another process of this run has ended'),
    ],
)
def test_errors_of_torch_are_explained(
    tiny: Make,
    replace_step: Callable[[int, Callable[..., Any]], None],
    tmp_path: Path,
    words: str,
    expected: str,
) -> None:
    def fail(*_: Any) -> None:
        kind = torch.OutOfMemoryError if 'memory' in words else RuntimeError
        raise kind(words)

    replace_step(0, fail)
    with pytest.raises(TrainingError, match=expected):
        train(tiny(), tmp_path / 'run', progress=False)
    assert words in status(tmp_path / 'run')['reason']


def test_missing_device_is_a_config_error(tiny: Make, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip('there is a GPU')
    with pytest.raises(ConfigError, match=r'training\.accelerator=gpu'):
        train(tiny(**{'training.accelerator': 'gpu'}), tmp_path / 'run', progress=False)


def test_run_folder_that_cannot_be_created_is_an_error(tiny: Make, tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(TrainingError, match='cannot be written'):
        train(tiny(), tmp_path / 'file' / 'run', progress=False)


def test_unsupported_training_size_is_refused_before_the_run(
    tiny: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(_: object, spec: ModelSpec) -> None:
        raise ConfigError(f'cannot see {spec.input_size}')

    monkeypatch.setattr(state, 'check_grids', refuse)
    with pytest.raises(ConfigError, match=r'cannot see \(96, 128\)'):
        train(tiny(**{'training.multi_scale': '[1.5, 1.5]'}), tmp_path / 'run', progress=False)
    assert not (tmp_path / 'run').exists()


def test_full_disk_is_reported_and_keeps_the_last_checkpoint(
    tiny: Make, small_disk: Callable[..., Any], without_validation: None
) -> None:
    changes = {'training.batch_size': 1, 'checkpoint.every_steps': 1, 'checkpoint.keep_last': 9}

    def fill(folder: Path) -> None:
        with pytest.raises(CheckpointError, match='cannot be written: No space left on device: '):
            train(tiny(**changes), folder / 'run', progress=False)
        saved = load_checkpoint(newest_checkpoint(folder / 'run'))
        assert 0 < saved.step < 8
        assert not list((folder / 'run').rglob('*.partial'))
        assert status(folder / 'run')['status'] == 'failed'

    small_disk(fill)


def test_second_signal_during_a_save_lets_it_finish(
    tiny: Make, without_validation: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def write(path: Path, content: bytes) -> None:
        if path.name == 'step-00000001.pt':
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        write_atomically(path, content)

    monkeypatch.setattr(checkpoint, 'write_atomically', write)
    wanted = tiny(**{'checkpoint.every_steps': 1})
    with pytest.raises(Preempted) as caught, handle_signals() as stop:
        train(wanted, tmp_path / 'run', progress=False, stop=stop)
    assert caught.value.signum == signal.SIGTERM
    assert load_checkpoint(newest_checkpoint(tmp_path / 'run')).step == 1
    written = status(tmp_path / 'run')
    assert (written['status'], written['step']) == ('preempted', 1)


def test_status_is_current_while_training(
    tiny: Make,
    replace_step: Callable[[int, Callable[..., Any]], None],
    without_validation: None,
    tmp_path: Path,
) -> None:
    seen = []

    def look(forward_backward: Any, *args: Any) -> torch.Tensor:
        written = status(tmp_path / 'run')
        seen.append((written['status'], written['step'], written['epoch']))
        return forward_backward(*args)

    replace_step(3, look)
    train(tiny(), tmp_path / 'run', progress=False)
    assert seen == [('running', 3, 1)]
