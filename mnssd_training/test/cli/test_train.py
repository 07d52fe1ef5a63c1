"""The commands that train: results, and errors of one line."""

from collections.abc import Callable, Iterator
import io
from pathlib import Path
import sys
from typing import Any

import cv2
from mnssd_training.cli import find_batch_size, find_lr, finetune, train
from mnssd_training.config import Experiment, load_experiment
from mnssd_training.train import default_folder, load_checkpoint, Preempted
import pytest
import yaml

SMALL = [
    'input.size=[64, 80]',
    'model.pyramid_channels=8',
    'model.width_mult=0.25',
    'training.batch_size=4',
]

Capture = pytest.CaptureFixture[str]
Verb = Callable[[list[str]], int]


@pytest.fixture(scope='module')
def run(hit_uav: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, made by the verb."""
    run = tmp_path_factory.mktemp('cli') / 'run'
    assert train.main(['smoke', f'data.root={hit_uav}', *SMALL, '--run', str(run), '--quiet']) == 0
    return run


def fails(verb: Verb, arguments: list[Any], capsys: Capture) -> str:
    """Run a verb that must fail with one line on stderr; return that line."""
    capsys.readouterr()
    assert verb(list(map(str, arguments))) == 1
    out, err = capsys.readouterr()
    assert out == ''
    assert err.startswith('error: ')
    assert err.count('\n') == 1
    assert 'Traceback' not in err
    return err


# --- what works ------------------------------------------------------------------------------


def test_finished_run_is_resumed(run: Path, hit_uav: Path, capsys: Capture) -> None:
    for resume in (['--resume'], ['--resume', str(run)]):
        arguments = ['smoke', '--run', str(run), *resume, f'data.root={hit_uav}', *SMALL]
        assert train.main(arguments) == 0
        out = capsys.readouterr().out
        assert 'resuming from' in out
        assert 'trained 1 steps; mean AP@0.5 0.' in out
        assert f'run: {run}' in out
    assert load_checkpoint(run / 'checkpoints' / 'step-00000001.pt').step == 1


def test_override_after_resume_is_not_a_checkpoint(run: Path, hit_uav: Path) -> None:
    arguments = ['smoke', '--run', str(run), '--quiet', *SMALL, '--resume', f'data.root={hit_uav}']
    assert train.main(arguments) == 0


def test_override_after_resume_may_exceed_the_length_of_a_file_name(capsys: Capture) -> None:
    root = 'x' * 300
    assert train.main(['smoke', '--print-config', '--resume', f'data.root={root}']) == 0
    assert yaml.safe_load(capsys.readouterr().out)['data']['root'] == root


def test_run_has_a_default_folder(
    hit_uav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def ask(*arguments: Any, **_: Any) -> None:
        asked.append(arguments)
        raise ZeroDivisionError

    monkeypatch.setattr('mnssd_training.train.train', ask)
    changes = [f'data.root={hit_uav}', f'logging.root={tmp_path}', *SMALL]
    with pytest.raises(ZeroDivisionError):
        train.main(['smoke', *changes])
    ((experiment, folder),) = asked
    assert folder == default_folder(load_experiment('smoke', changes))
    assert folder.parent == tmp_path


def test_print_config_prints_a_valid_experiment(
    hit_uav: Path, tmp_path: Path, capsys: Capture
) -> None:
    changes = [f'data.root={hit_uav}', *SMALL]
    assert train.main(['smoke', *changes, '--print-config']) == 0
    printed = tmp_path / 'printed.yaml'
    printed.write_text(capsys.readouterr().out)
    assert yaml.safe_load(printed.read_text())['input']['size'] == [64, 80]
    assert load_experiment(printed) == load_experiment('smoke', changes)


def test_dry_run_computes_a_batch_and_writes_nothing(
    hit_uav: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train.main(['smoke', f'data.root={hit_uav}', *SMALL, '--dry-run']) == 0
    out = capsys.readouterr().out
    for words in (
        'parameters',
        'input 64 x 80',
        'first batch: 4 images',
        'epochs of 1 steps',
    ):
        assert words in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('is_first', [True, False])
def test_dry_run_prints_on_rank_zero(
    is_first: bool, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []

    def dry_run(experiment: Experiment) -> Iterator[str]:
        yield 'all is well'
        looked.append(experiment)

    monkeypatch.setattr('mnssd_training.train.dry_run.dry_run', dry_run)
    monkeypatch.setattr('mnssd_training.train.is_rank_zero', lambda: is_first)
    assert train.main(['smoke', '--dry-run']) == 0
    assert finetune.main(['--dry-run']) == 0
    assert len(looked) == 2  # every process takes part
    assert capsys.readouterr().out == 'all is well\n' * 2 * is_first


def test_find_lr_suggests_and_plots(hit_uav: Path, tmp_path: Path, capsys: Capture) -> None:
    plot = tmp_path / 'deep' / 'plot.png'
    arguments = ['smoke', f'data.root={hit_uav}', *SMALL, '--output', str(plot), '--quiet']
    assert find_lr.main([*arguments, '--steps', '10', '--highest', '0.01']) == 0
    assert 'to use it: optimizer.learning_rate=' in capsys.readouterr().out
    assert cv2.imread(str(plot)).shape == (600, 960, 3)


def test_find_batch_size_lists_and_suggests(hit_uav: Path, capsys: Capture) -> None:
    arguments = ['smoke', f'data.root={hit_uav}', *SMALL, '--limit', '2']
    assert find_batch_size.main(arguments) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[:3]] == ['batch', '1', '2']
    assert 'training.batch_size=' in out


# --- what fails ------------------------------------------------------------------------------


@pytest.mark.parametrize('verb', [train, find_lr, find_batch_size], ids=lambda v: v.__name__[19:])
@pytest.mark.parametrize(
    'arguments',
    [
        ['nowhere'],
        ['smoke', 'data.root=gone'],
        ['smoke', 'training.epoch=1'],
        ['smoke', 'training.epochs=['],
        ['smoke', 'training.epochs'],
    ],
    ids=lambda arguments: arguments[-1],
)
def test_invalid_experiment_is_a_one_line_error(
    verb: Any, arguments: list[str], capsys: Capture
) -> None:
    words = arguments[-1].strip('[').replace('=1', '').replace('data.root=', '').strip('=')
    assert words in fails(verb.main, arguments, capsys)


def test_unusable_run_folder_is_a_one_line_error(
    run: Path, hit_uav: Path, tmp_path: Path, capsys: Capture
) -> None:
    data = ['smoke', f'data.root={hit_uav}', *SMALL]
    assert 'already holds a run' in fails(train.main, [*data, '--run', run], capsys)
    other = [*data, 'training.seed=9', '--run', run, '--resume']
    assert 'training.seed was 1337, now is 9' in fails(train.main, other, capsys)
    weights = [*data, f'initial.backbone_weights={hit_uav / "LICENSE"}', '--run', tmp_path / 'new']
    assert 'LICENSE' in fails(train.main, weights, capsys)
    assert not (tmp_path / 'new').exists()
    broken = tmp_path / 'checkpoints' / 'step-00000007.pt'
    broken.parent.mkdir()
    broken.write_bytes(b'half')
    resumed = fails(train.main, [*data, '--run', tmp_path, '--resume'], capsys)
    assert 'all checkpoints are damaged' in resumed
    gone = [*data, '--run', tmp_path / 'new', '--resume', 'gone.pt']
    assert 'gone.pt: no such checkpoint' in fails(train.main, gone, capsys)


def test_invalid_search_is_a_one_line_error(
    hit_uav: Path, tmp_path: Path, capsys: Capture
) -> None:
    data = ['smoke', f'data.root={hit_uav}', *SMALL]
    assert 'at least 10' in fails(find_lr.main, [*data, '--steps', '2'], capsys)
    assert 'expected at least 1' in fails(find_batch_size.main, [*data, '--limit', '0'], capsys)


@pytest.mark.parametrize(
    ('error', 'code', 'words'),
    [
        (KeyboardInterrupt(), 130, 'interrupted'),
        (Preempted(2), 130, 'stopped by SIGINT; continue with --resume'),
        (Preempted(15), 143, 'stopped by SIGTERM; continue with --resume'),
    ],
    ids=['at once', 'SIGINT', 'SIGTERM'],
)
def test_exit_codes_of_signals(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: Capture,
    error: BaseException,
    code: int,
    words: str,
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr('mnssd_training.train.train', interrupt)
    assert train.main(['smoke', '--run', str(tmp_path)]) == code
    assert capsys.readouterr().err == f'{words}\n'


def test_closed_output_pipe_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(sys, 'stderr', io.StringIO())  # the verb closes it
    monkeypatch.setattr('mnssd_training.train.train', broken)
    assert train.main(['smoke', '--run', str(tmp_path)]) == 0
