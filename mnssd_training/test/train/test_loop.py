"""The training loop on real photographs: what it leaves, how it resumes, what went wrong."""

from collections.abc import Callable, Iterator
import json
from pathlib import Path
import shutil
from typing import Any

from mnssd_training.config import Experiment
from mnssd_training.errors import CheckpointError, DatasetError, TrainingError
from mnssd_training.loss import Losses, multibox_loss
from mnssd_training.train import Checkpoint, load_checkpoint, loop, train
from mnssd_training.train.checkpoint import save_checkpoint
import pytest
import torch

TRAIN = {'0_60_50_0_06519', '0_60_70_0_06611', '0_70_90_0_06875', '1_60_80_0_07504'}


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / 'metrics.jsonl').read_text().splitlines()]


def equal(one: Any, other: Any) -> bool:
    """Compare nested state to the bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, BaseException], None]]:
    """Make the loop fail in the middle of a step."""

    def arm(step: int, error: BaseException) -> None:
        calls = iter(range(10**6))

        def fail(*args: Any) -> Losses:
            if next(calls) == step:
                raise error
            return multibox_loss(*args)

        monkeypatch.setattr(loop, 'multibox_loss', fail)

    yield arm
    monkeypatch.undo()


# --- running ---------------------------------------------------------------------------------


def test_what_a_run_leaves_behind(experiment: Callable[..., Experiment], tmp_path: Path) -> None:
    run = tmp_path / 'deep' / 'run'
    last = train(experiment(training__evaluate_every=2, training__epochs=3), run, progress=False)
    names = {path.name for path in run.iterdir()}
    assert names == {'best.pt', 'last.pt', 'experiment.json', 'metrics.jsonl'}
    assert [(row['epoch'], row['step'], 'map50' in row) for row in rows(run)] == [
        (1, 2, False),
        (2, 4, True),
        (3, 6, True),  # the last is always scored
    ]
    assert json.loads((run / 'experiment.json').read_text()) == last.experiment
    saved, best = load_checkpoint(run / 'last.pt'), load_checkpoint(run / 'best.pt')
    assert (saved.step, best.training) == (6, None)
    assert saved.metrics == last.metrics
    assert best.metrics['map50'] == max(row.get('map50', 0) for row in rows(run))
    assert best.build().spec == last.spec


def test_frozen_blocks_bf16_letterbox_and_a_last_batch_that_is_too_small(
    experiment: Callable[..., Experiment], tmp_path: Path
) -> None:
    changes = {
        'training.precision': 'bf16',
        'input.resize': 'letterbox',
        'model.frozen_blocks': 4,
        'training.batch_size': 3,
        'training.epochs': 1,
    }
    last = train(experiment(**changes), tmp_path / 'run', progress=False)
    assert last.step == 1
    assert all(torch.isfinite(value).all() for value in last.weights.values())


def test_a_batch_is_never_larger_than_the_set(
    experiment: Callable[..., Experiment], tmp_path: Path
) -> None:
    changes = experiment(training__batch_size=64, training__epochs=1)
    assert train(changes, tmp_path / 'run', progress=False).step == 1


# --- resuming --------------------------------------------------------------------------------

RESUMABLE = {'training.batch_size': 1, 'training.epochs': 2, 'training.evaluate_every': 1}


@pytest.fixture(scope='module')
def straight(hit_uav: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight steps in two epochs that nobody stopped."""
    return tmp_path_factory.mktemp('straight') / 'run'


@pytest.mark.parametrize(('save_every', 'failing_step'), [(1, 3), (1, 4), (2, 1), (2, 3), (2, 7)])
def test_a_resumed_run_ends_with_the_same_bits(
    experiment: Callable[..., Experiment],
    interrupt: Callable[[int, BaseException], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    straight: Path,
    save_every: int,
    failing_step: int,
) -> None:
    wanted = experiment(**RESUMABLE, **{'training.save_every': save_every})
    without_score(monkeypatch)
    if not straight.exists():
        train(experiment(**RESUMABLE, **{'training.save_every': 1}), straight, progress=False)
    run = tmp_path / 'run'
    interrupt(failing_step, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(wanted, run, progress=False)
    # 4 steps an epoch; the end of an epoch is always saved
    saved = max(failing_step // save_every * save_every, failing_step // 4 * 4)
    assert (load_checkpoint(run / 'last.pt').step if saved else 0) == saved
    interrupt(10**6, KeyboardInterrupt())
    torch.manual_seed(4711)  # nothing may hang on the state of the process
    train(wanted, run, resume=True, progress=False)
    one, other = load_checkpoint(straight / 'last.pt'), load_checkpoint(run / 'last.pt')
    assert one.step == other.step == 8
    assert equal(one.weights, other.weights)
    assert equal(one.training, other.training)
    assert [row['step'] for row in rows(run)] == [4, 8]
    assert [row['learning_rate'] for row in rows(run)] == [
        row['learning_rate'] for row in rows(straight)
    ]


def without_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scoring takes most of the time of a tiny run and changes nothing in it."""
    monkeypatch.setattr(loop, 'evaluate_model', lambda *_: {'map50': 0.25})


def test_a_run_that_is_killed_in_the_last_score_is_scored_when_resumed(
    experiment: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    wanted = experiment(**{'training.save_every': 1, 'training.epochs': 1})
    monkeypatch.setattr(loop, 'evaluate_model', killed)
    with pytest.raises(KeyboardInterrupt):
        train(wanted, tmp_path / 'run', progress=False)
    without_score(monkeypatch)
    last = train(wanted, tmp_path / 'run', resume=True, progress=False)
    assert last.metrics == {'map50': 0.25}
    assert (tmp_path / 'run' / 'best.pt').exists()


def test_a_finished_run_is_resumed_to_itself(
    experiment: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_score(monkeypatch)
    first = train(experiment(), tmp_path / 'run', progress=False)
    before = (tmp_path / 'run' / 'last.pt').read_bytes()
    again = train(experiment(), tmp_path / 'run', resume=True, progress=False)
    assert equal(first.weights, again.weights)
    assert again.metrics == first.metrics
    assert (tmp_path / 'run' / 'last.pt').read_bytes() == before
    assert len(rows(tmp_path / 'run')) == 2


def test_resuming_nothing_is_starting(
    experiment: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_score(monkeypatch)
    wanted = experiment(training__epochs=1)
    assert train(wanted, tmp_path / 'run', resume=True, progress=False).step == 2


@pytest.fixture
def finished(
    experiment: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Path:
    """A run that came to its end."""
    without_score(monkeypatch)
    train(experiment(training__epochs=1), tmp_path / 'finished', progress=False)
    return tmp_path / 'finished'


def test_a_run_is_never_written_over(
    experiment: Callable[..., Experiment], finished: Path
) -> None:
    with pytest.raises(CheckpointError, match='holds a run already; resume it or choose another'):
        train(experiment(training__epochs=1), finished, progress=False)


def test_a_run_of_another_experiment_is_not_resumed(
    experiment: Callable[..., Experiment], finished: Path
) -> None:
    with pytest.raises(CheckpointError, match=r'last\.pt: belongs to another experiment'):
        train(experiment(training__epochs=5), finished, resume=True, progress=False)


@pytest.mark.parametrize(
    'spoil',
    [
        lambda training: training.pop('optimizer'),
        lambda training: training['model'].popitem(),
        lambda training: training['optimizer']['param_groups'].pop(),
        lambda training: training.update(step='many'),
    ],
    ids=['no optimizer', 'no weight', 'other optimizer', 'no step'],
)
def test_state_that_does_not_fit_is_not_resumed(
    experiment: Callable[..., Experiment], finished: Path, spoil: Callable[[dict[str, Any]], Any]
) -> None:
    checkpoint: Checkpoint = load_checkpoint(finished / 'last.pt')
    assert checkpoint.training is not None
    spoil(checkpoint.training)
    save_checkpoint(finished / 'last.pt', checkpoint)
    with pytest.raises(CheckpointError, match='its state does not fit this network'):
        train(experiment(training__epochs=1), finished, resume=True, progress=False)


def test_a_best_checkpoint_is_not_resumed(
    experiment: Callable[..., Experiment], finished: Path
) -> None:
    shutil.copy(finished / 'best.pt', finished / 'last.pt')
    with pytest.raises(CheckpointError, match='holds weights only, nothing to resume from'):
        train(experiment(training__epochs=1), finished, resume=True, progress=False)


# --- fine-tuning -----------------------------------------------------------------------------


def test_another_run_is_fine_tuned(
    experiment: Callable[..., Experiment], finished: Path, tmp_path: Path
) -> None:
    changes = {'initial_checkpoint': finished / 'best.pt', 'training.learning_rate': 1e-12}
    start = load_checkpoint(finished / 'best.pt').build()
    last = train(experiment(**changes), tmp_path / 'tuned', progress=False).build()
    for one, other in zip(start.parameters(), last.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_a_run_that_cannot_be_fine_tuned(
    experiment: Callable[..., Experiment], finished: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match='no such checkpoint'):
        train(experiment(initial_checkpoint='gone.pt'), tmp_path / 'run', progress=False)
    changes = {'initial_checkpoint': finished / 'best.pt', 'model.channels': 24}
    with pytest.raises(CheckpointError, match='its network is another one'):
        train(experiment(**changes), tmp_path / 'run', progress=False)


# --- what goes wrong -------------------------------------------------------------------------


@pytest.mark.parametrize('what', ['loss', 'gradient'])
def test_what_is_not_finite_names_its_photographs_and_spoils_no_checkpoint(
    experiment: Callable[..., Experiment],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    what: str,
) -> None:
    calls = iter(range(100))

    def explode(*args: Any) -> Losses:
        losses = multibox_loss(*args)
        if next(calls) < 3:
            return losses
        root_of_zero = (args[0] * 0).sum().sqrt()  # 0, with a gradient without limit
        total = losses.total * torch.nan if what == 'loss' else losses.total + root_of_zero
        return Losses(losses.classes, losses.boxes, total)

    monkeypatch.setattr(loop, 'multibox_loss', explode)
    without_score(monkeypatch)
    with pytest.raises(TrainingError, match=r'the loss is .* in step 3; the batch was ') as caught:
        train(experiment(training__save_every=1), tmp_path / 'run', progress=False)
    named = set(str(caught.value).partition('the batch was ')[2].split(', '))
    assert len(named) == 2
    assert named < TRAIN
    saved = load_checkpoint(tmp_path / 'run' / 'last.pt')
    assert saved.step == 3
    assert saved.training is not None
    assert all(torch.isfinite(value).all() for value in saved.training['model'].values())


@pytest.mark.parametrize('workers', [0, 1])
def test_a_photograph_that_cannot_be_read_is_named(
    experiment: Callable[..., Experiment], hit_uav: Path, tmp_path: Path, workers: int
) -> None:
    root = tmp_path / 'data'
    shutil.copytree(hit_uav, root)
    spoilt = root / 'JPEGImages' / '0_60_70_0_06611.jpg'
    spoilt.write_bytes(spoilt.read_bytes()[:9000])
    changes = {'data.root': root, 'training.workers': workers}
    with pytest.raises(DatasetError, match='a JPEG that is cut short') as caught:
        train(experiment(**changes), tmp_path / 'run', progress=False)
    assert caught.value.path == spoilt


@pytest.mark.parametrize('device', ['abacus', 'cuda:99'])
def test_a_device_that_is_not_there(
    experiment: Callable[..., Experiment], tmp_path: Path, device: str
) -> None:
    with pytest.raises(TrainingError, match=rf'training\.device={device}: '):
        train(experiment(training__device=device), tmp_path / 'run', progress=False)


def test_a_run_folder_that_cannot_be_made(
    experiment: Callable[..., Experiment], tmp_path: Path
) -> None:
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(TrainingError, match=r'experiment\.json: cannot be written'):
        train(experiment(), tmp_path / 'file' / 'run', progress=False)


def test_a_full_disk_keeps_the_last_checkpoint(
    experiment: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    saves = iter(range(100))
    write = torch.save

    def full(content: Any, file: Any) -> None:
        if next(saves) == 2:
            raise OSError(28, 'No space left on device')
        write(content, file)

    without_score(monkeypatch)
    monkeypatch.setattr(torch, 'save', full)
    with pytest.raises(CheckpointError, match='cannot be written: .*No space left'):
        train(
            experiment(**RESUMABLE, **{'training.save_every': 1}), tmp_path / 'r', progress=False
        )
    assert load_checkpoint(tmp_path / 'r' / 'last.pt').step == 2
