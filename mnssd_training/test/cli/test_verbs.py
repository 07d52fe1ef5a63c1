"""Every verb as a user meets it: help, results, and errors of one line."""

from collections.abc import Callable
from pathlib import Path

from mnssd_training.cli import evaluate, export, predict, train
from mnssd_training.train import load_checkpoint
import pytest

VERBS = {
    'train': train.main,
    'evaluate': evaluate.main,
    'export': export.main,
    'predict': predict.main,
}
SMALL = ['input.size=[96, 120]', 'model.channels=16', 'training.batch_size=4']

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope='module')
def run(hit_uav: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, made by the verb."""
    run = tmp_path_factory.mktemp('cli') / 'run'
    assert train.main(['smoke', f'data.root={hit_uav}', *SMALL, '--run', str(run), '--quiet']) == 0
    return run


def fails(verb: str, arguments: list[object], capsys: Capture) -> str:
    """Run a verb that must fail with one line on stderr; return that line."""
    capsys.readouterr()
    assert VERBS[verb](list(map(str, arguments))) == 1
    out, err = capsys.readouterr()
    assert out == ''
    assert err.startswith('error: ')
    assert err.count('\n') == 1
    assert 'Traceback' not in err
    return err


# --- what works ------------------------------------------------------------------------------


@pytest.mark.parametrize('verb', VERBS)
def test_help(verb: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as left:
        VERBS[verb](['--help'])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith(f'usage: {verb} ')


@pytest.mark.parametrize('verb', VERBS)
def test_wrong_usage(verb: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as left:
        VERBS[verb]([])
    assert left.value.code == 2
    assert f'{verb}: error: ' in capsys.readouterr().err


def test_train_leaves_checkpoints_and_resumes(run: Path, hit_uav: Path, capsys: Capture) -> None:
    arguments = ['smoke', '--resume', '--run', str(run), f'data.root={hit_uav}', *SMALL]
    assert train.main(arguments) == 0
    out = capsys.readouterr().out
    assert 'trained 1 steps; mean AP@0.5 0.' in out
    assert str(run / 'last.pt') in out
    assert load_checkpoint(run / 'last.pt').step == 1


# --- what fails ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['nowhere'], 'nowhere: no such experiment; shipped are'),
        (['smoke', 'data.root=gone'], 'gone/classes.txt: no such file'),
        (['smoke', 'training.epoch=1'], "unknown key 'epoch' at training"),
        (['smoke', 'training.epochs=['], 'training.epochs: not a YAML value'),
        (['smoke', 'training.epochs'], 'expected key.path=value'),
    ],
)
def test_train_errors(arguments: list[str], words: str, tmp_path: Path, capsys: Capture) -> None:
    assert words in fails('train', [*arguments, '--run', tmp_path / 'run'], capsys)
    assert not (tmp_path / 'run').exists()


def test_train_errors_of_the_run(
    run: Path, hit_uav: Path, tmp_path: Path, capsys: Capture
) -> None:
    data = f'data.root={hit_uav}'
    again = ['smoke', data, *SMALL, '--run', run]
    assert 'holds a run already' in fails('train', again, capsys)
    other = ['smoke', data, *SMALL, 'training.seed=9', '--run', run, '--resume']
    assert 'belongs to another experiment' in fails('train', other, capsys)
    weights = ['smoke', data, f'backbone_weights={hit_uav / "LICENSE"}', '--run', tmp_path / 'new']
    assert 'expected a state dict' in fails('train', weights, capsys)
    (tmp_path / 'last.pt').write_bytes((run / 'last.pt').read_bytes()[:5000])
    broken = ['smoke', data, *SMALL, '--run', tmp_path, '--resume']
    assert 'not a checkpoint, or cut short' in fails('train', broken, capsys)


def test_interrupted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, 'train', interrupt)
    assert train.main(['smoke', '--run', str(tmp_path)]) == 130
    assert capsys.readouterr().err == 'interrupted\n'


def test_a_reader_that_goes_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_stderr: Callable[[], None]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError

    make_stderr()
    monkeypatch.setattr(train, 'train', broken)
    assert train.main(['smoke', '--run', str(tmp_path)]) == 0


@pytest.fixture
def make_stderr(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Give the verb a stderr of its own, which it closes."""

    def make() -> None:
        import io
        import sys

        monkeypatch.setattr(sys, 'stderr', io.StringIO())

    return make
