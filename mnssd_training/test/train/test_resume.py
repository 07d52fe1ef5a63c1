"""Runs that were stopped, killed, corrupted or finished, and are resumed."""

from collections.abc import Callable
import json
from pathlib import Path
import shutil
from typing import Any

from mnssd_training.config import Experiment
from mnssd_training.errors import CheckpointError
from mnssd_training.train import Checkpoint, load_checkpoint, loop, Preempted, StopRequest, train
from mnssd_training.train.checkpoint import save_checkpoint
import pytest
import torch

Make = Callable[..., Experiment]
AtStep = Callable[[int, Callable[..., Any]], None]

SCORES = {'map50': 0.25, 'coco': {'ap': 0.125}}  # of the fixture without_validation


def rows(run: Path, kind: str = 'epoch') -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / 'metrics.jsonl').read_text().splitlines()]
    return [row for row in found if row['kind'] == kind]


def status(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / 'status.json').read_text()))


def newest_checkpoint(run: Path) -> Path:
    return sorted((run / 'checkpoints').glob('step-*.pt'))[-1]


def equal(one: Any, other: Any) -> bool:
    """Compare nested state bit by bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


# --- resuming --------------------------------------------------------------------------------

RESUMABLE = {'training.batch_size': 1, 'training.epochs': 2, 'evaluation.every_epochs': 1}


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of eight steps in two epochs."""
    return tmp_path_factory.mktemp('uninterrupted') / 'run'


@pytest.mark.parametrize(('save_every', 'failing'), [(1, 4), (2, 3), (3, 7)])
def test_resumed_run_is_bit_identical(
    tiny: Make,
    replace_step: Callable[[int, Callable[..., Any]], None],
    without_validation: None,
    tmp_path: Path,
    uninterrupted: Path,
    save_every: int,
    failing: int,
) -> None:
    wanted = tiny(**RESUMABLE, **{'checkpoint.every_steps': save_every})
    if not uninterrupted.exists():
        train(wanted, uninterrupted, progress=False)

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    run = tmp_path / 'run'
    replace_step(failing, fail)
    with pytest.raises(KeyboardInterrupt):
        train(wanted, run, progress=False)
    assert status(run)['status'] == 'failed'
    replace_step(10**6, fail)
    torch.manual_seed(4711)  # nothing may hang on the state of the process
    train(wanted, run, resume=True, progress=False)
    one, other = (
        load_checkpoint(newest_checkpoint(uninterrupted)),
        load_checkpoint(newest_checkpoint(run)),
    )
    assert one.step == other.step == 8
    assert equal(one.weights, other.weights)
    assert equal(one.training, other.training)
    assert [row['step'] for row in rows(run)] == [4, 8]
    for kind, count in (('step', 8), ('epoch', 2)):
        here, there = rows(run, kind), rows(uninterrupted, kind)
        assert len(here) == len(there) == count
        for name in ('loss', 'gradient_norm', 'learning_rate'):
            assert [row[name] for row in here] == [row[name] for row in there]


def test_resumed_run_with_sampling_and_pasted_objects_is_bit_identical(
    tiny: Make,
    replace_step: Callable[[int, Callable[..., Any]], None],
    without_validation: None,
    tmp_path: Path,
) -> None:
    changes = {
        'data.sampling.groups': '"^(?P<time>[01])_"',
        'data.sampling.repeat_threshold': 0.9,
        'augmentation.copy_paste': 1.0,
        'augmentation.copy_paste_max_size': 200,
        'augmentation.object_tone': 1.0,
        'augmentation.gamma': 2.0,
        'augmentation.blur': 1.0,
        'augmentation.noise': 9.0,
    }
    negatives = tmp_path / 'negatives.json'
    entry = {'class_name': 'Car', 'box': [9, 9, 30, 30], 'score': 0.9}
    negatives.write_text(json.dumps([entry | {'image': '0_60_50_0_06519'}]))
    changes |= {'data.hard_negatives': negatives, 'augmentation.hard_negative_crop': 0.5}
    wanted = tiny(**RESUMABLE, **changes)
    one = train(wanted, tmp_path / 'one', progress=False)
    stop = StopRequest()

    def signalled(forward_backward: Any, *args: Any) -> torch.Tensor:
        stop.handle_signal(15)
        return forward_backward(*args)

    replace_step(2, signalled)
    with pytest.raises(Preempted):
        train(wanted, tmp_path / 'other', progress=False, stop=stop)
    other = train(wanted, tmp_path / 'other', resume=True, progress=False)
    assert one.step == other.step == 8
    assert equal(one.weights, other.weights)


def test_run_stopped_during_evaluation_resumes_with_the_evaluation(
    tiny: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stop = StopRequest()

    def signalled(*args: Any) -> None:
        stop.handle_signal(15)
        args[3](1)

    wanted = tiny(**{'training.epochs': 1})
    monkeypatch.setattr(loop, 'validate', signalled)
    with pytest.raises(Preempted):
        train(wanted, tmp_path / 'run', progress=False, stop=stop)
    assert (
        load_checkpoint(newest_checkpoint(tmp_path / 'run')).step == 2
    )  # what was learnt is not lost
    monkeypatch.setattr(loop, 'validate', lambda *_: (SCORES, []))
    last = train(wanted, tmp_path / 'run', resume=True, progress=False)
    assert last.metrics == SCORES
    assert (tmp_path / 'run' / 'checkpoints' / 'best.pt').exists()
    assert [row['epoch'] for row in rows(tmp_path / 'run')] == [1]


@pytest.mark.parametrize('step', [0, 1], ids=['within', 'at the end of an epoch'])
def test_signal_lets_the_step_finish(
    tiny: Make,
    replace_step: Callable[[int, Callable[..., Any]], None],
    without_validation: None,
    tmp_path: Path,
    step: int,
) -> None:
    stop = StopRequest()

    def signalled(forward_backward: Any, *args: Any) -> torch.Tensor:
        stop.handle_signal(15)
        return forward_backward(*args)

    replace_step(step, signalled)
    with pytest.raises(Preempted) as caught:
        train(tiny(), tmp_path / 'run', progress=False, stop=stop)
    assert caught.value.signum == 15
    assert load_checkpoint(newest_checkpoint(tmp_path / 'run')).step == step + 1
    written = status(tmp_path / 'run')
    assert (written['status'], written['step']) == ('preempted', step + 1)
    assert written['reason'] == 'stopped by SIGTERM; continue with --resume'
    assert train(tiny(), tmp_path / 'run', resume=True, progress=False).step == 4
    assert [row['step'] for row in rows(tmp_path / 'run', 'step')] == [1, 2, 3, 4]


@pytest.fixture
def finished(tiny: Make, without_validation: None, tmp_path: Path) -> Path:
    """A finished run."""
    train(tiny(**{'training.epochs': 1}), tmp_path / 'finished', progress=False)
    return tmp_path / 'finished'


def test_resuming_a_finished_run_changes_nothing(tiny: Make, finished: Path) -> None:
    before = newest_checkpoint(finished).read_bytes()
    again = train(tiny(**{'training.epochs': 1}), finished, resume=True, progress=False)
    assert again.metrics == SCORES
    assert newest_checkpoint(finished).read_bytes() == before
    assert len(rows(finished)) == 1
    assert status(finished)['status'] == 'success'


def test_run_with_environment_variables_resumes(
    tiny: Make, without_validation: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {'ACC': 'cpu', 'MON': 'ap', 'RID': 'mine', 'SPLIT': 'train'}.items():
        monkeypatch.setenv(name, value)
    wanted = tiny(
        **{
            'data.train_split': '${SPLIT}',
            'evaluation.monitor': '${MON}',
            'experiment.id': '${RID}',
            'initial.checkpoint': '${CK:-}',
            'training.accelerator': '${ACC}',
            'training.epochs': 1,
        }
    )
    train(wanted, tmp_path / 'run', progress=False)
    assert train(wanted, tmp_path / 'run', resume=True, progress=False).step == 2


def test_checkpoint_resumes_in_another_folder(tiny: Make, finished: Path, tmp_path: Path) -> None:
    wanted = tiny(**{'training.epochs': 1, 'training.workers': 1, 'checkpoint.keep_last': 1})
    last = train(wanted, tmp_path / 'new', resume=str(newest_checkpoint(finished)), progress=False)
    assert last.step == 2
    assert status(tmp_path / 'new')['status'] == 'success'


def test_run_is_never_overwritten(tiny: Make, finished: Path) -> None:
    with pytest.raises(CheckpointError, match='already holds a run; continue it with --resume'):
        train(tiny(**{'training.epochs': 1}), finished, progress=False)


def test_run_of_another_experiment_is_not_resumed(tiny: Make, finished: Path) -> None:
    other = tiny(**{'training.epochs': 5, 'loss.smooth_l1_beta': 0.5})
    with pytest.raises(
        CheckpointError,
        match=r'another experiment: loss\.smooth_l1_beta was 1\.0, now is 0\.5; '
        r'training\.epochs was 1, now is 5; choose another folder',
    ):
        train(other, finished, resume=True, progress=False)


def test_changed_dataset_is_not_resumed(
    tiny: Make, finished: Path, hit_uav: Path, tmp_path: Path
) -> None:
    root = tmp_path / 'data'
    shutil.copytree(hit_uav, root)
    names = root / 'ImageSets' / 'Main' / 'train.txt'
    names.write_text('\n'.join(names.read_text().split()[:3]))
    fewer = tiny(**{'data.root': root, 'training.epochs': 1})
    with pytest.raises(CheckpointError, match='written with 4 training images, now there are 3'):
        train(fewer, finished, resume=True, progress=False)


@pytest.mark.parametrize(
    'corrupt',
    [
        lambda training: training.pop('optimizer'),
        lambda training: training['model'].popitem(),
        lambda training: training['optimizer']['param_groups'].pop(),
        lambda training: training['progress'].update(step='many'),
        lambda training: training.update(progress=None),
    ],
    ids=['no optimizer', 'no weight', 'other optimizer', 'no step', 'no progress'],
)
def test_mismatched_state_is_not_resumed(
    tiny: Make, finished: Path, corrupt: Callable[[dict[str, Any]], Any]
) -> None:
    checkpoint: Checkpoint = load_checkpoint(newest_checkpoint(finished))
    assert checkpoint.training is not None
    corrupt(checkpoint.training)
    save_checkpoint(newest_checkpoint(finished), checkpoint)
    with pytest.raises(CheckpointError, match='its state does not fit this network'):
        train(tiny(**{'training.epochs': 1}), finished, resume=True, progress=False)


def test_best_checkpoint_is_not_resumed(tiny: Make, finished: Path, tmp_path: Path) -> None:
    best = str(finished / 'checkpoints' / 'best.pt')
    with pytest.raises(CheckpointError, match='holds weights only, nothing to resume from; start'):
        train(tiny(**{'training.epochs': 1}), tmp_path / 'new', resume=best, progress=False)


# --- fine-tuning -----------------------------------------------------------------------------


def test_checkpoint_is_fine_tuned(tiny: Make, finished: Path, tmp_path: Path) -> None:
    path = finished / 'checkpoints' / 'best.pt'
    changes = {'initial.checkpoint': path, 'optimizer.learning_rate': 1e-12}
    last = train(tiny(**changes), tmp_path / 'tuned', progress=False).build()
    for one, other in zip(load_checkpoint(path).build().parameters(), last.parameters()):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    wider = tiny(**changes, **{'model.pyramid_channels': 16})
    train(wider, tmp_path / 'wider', progress=False)
    (line,) = (
        line
        for line in (tmp_path / 'wider' / 'train.log').read_text().splitlines()
        if 'layers start from scratch, such as pyramid' in line
    )
    assert f'INFO note: {path}: ' in line


def test_loading_less_than_half_of_the_weights_is_a_warning(
    tiny: Make, finished: Path, tmp_path: Path
) -> None:
    path = finished / 'checkpoints' / 'best.pt'
    wider = tiny(**{'initial.checkpoint': path, 'model.width_mult': 0.5})
    train(wider, tmp_path / 'wider', progress=False)
    log = (tmp_path / 'wider' / 'train.log').read_text()
    (line,) = (line for line in log.splitlines() if 'of the weights' in line)
    assert f'WARNING warning: {path}: ' in line


def test_another_number_of_threads_is_noted(
    tiny: Make, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> str:
        train(tiny(**{'training.epochs': 1}), finished, resume=True, progress=False)
        return (finished / 'train.log').read_text()

    assert 'the checkpoint was computed with' not in said()
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 3)
    assert 'note: the checkpoint was computed with 1 threads, now there are 3: ' in said()


def test_unusable_initial_checkpoint_is_refused(
    tiny: Make, finished: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match='no such checkpoint'):
        train(tiny(**{'initial.checkpoint': 'gone.pt'}), tmp_path / 'run', progress=False)
    path = finished / 'checkpoints' / 'best.pt'
    other = load_checkpoint(path)
    other.weights.clear()
    save_checkpoint(path, other)
    with pytest.raises(CheckpointError, match='no layer in common'):
        train(tiny(**{'initial.checkpoint': path}), tmp_path / 'run', progress=False)
    assert not (tmp_path / 'run').exists()
