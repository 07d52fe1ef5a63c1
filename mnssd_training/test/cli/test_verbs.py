"""Every verb as a user meets it: help, results, and errors of one line."""

from collections.abc import Callable
import json
from pathlib import Path
import shutil

import cv2
from mnssd_perception.bundle import open_bundle
from mnssd_training.cli import evaluate, export, predict, train
from mnssd_training.train import load_checkpoint
import numpy as np
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


@pytest.fixture(scope='module')
def bundle(run: Path, hit_uav: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, made by the verb."""
    folder = tmp_path_factory.mktemp('bundles')
    card = folder / 'CARD.md'
    card.write_text('# card\n')
    arguments = [str(run / 'best.pt'), str(hit_uav), '--output', str(folder / 'new')]
    arguments += ['--name', 'tiny', '--version', '0.1.0', '--document', str(card)]
    assert export.main([*arguments, '--licence', 'CC BY 4.0', '--score-threshold', '0.1']) == 0
    return folder / 'new' / 'tiny-0.1.0.mnssd'


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


def test_evaluate_a_checkpoint_and_a_bundle(
    run: Path, bundle: Path, hit_uav: Path, capsys: Capture
) -> None:
    assert evaluate.main([str(run / 'best.pt'), str(hit_uav), '--json']) == 0
    through_torch = json.loads(capsys.readouterr().out)
    assert evaluate.main([str(bundle), str(hit_uav), '--json']) == 0
    through_engine = json.loads(capsys.readouterr().out)
    assert through_torch['num_objects'] == through_engine['num_objects']
    assert through_torch['map50'] == pytest.approx(through_engine['map50'], abs=0.02)
    assert evaluate.main([str(run / 'last.pt'), str(hit_uav), '--split', 'train']) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ['class', 'objects']
    assert [row.split()[:2] for row in rows] == [
        ['Person', '4'], ['Car', '10'], ['Bicycle', '2'], ['OtherVehicle', '1'], ['mean', '17'],
    ]  # fmt: skip
    assert {len(row) for row in (head, *rows)} == {len(head)}


def test_export_makes_a_bundle_that_opens(bundle: Path) -> None:
    opened = open_bundle(bundle)
    assert opened.read('CARD.md') == b'# card\n'
    assert opened.manifest.thresholds.score == 0.1
    assert opened.manifest.provenance.licence == 'CC BY 4.0'


def test_predict_draws_and_writes_lines(
    bundle: Path, hit_uav: Path, tmp_path: Path, capsys: Capture
) -> None:
    colour = tmp_path / 'colour.png'
    cv2.imwrite(str(colour), np.full((60, 80, 3), (10, 20, 200), np.uint8))
    images = [hit_uav / 'JPEGImages', colour]
    output = tmp_path / 'deep' / 'output'
    arguments = [*images, '--bundle', bundle, '--output', output, '--score-threshold', '0.02']
    assert predict.main(list(map(str, arguments))) == 0
    assert '9 images' in capsys.readouterr().out
    rows = [json.loads(line) for line in (output / 'detections.jsonl').read_text().splitlines()]
    assert len(rows) == 9
    for row in rows:
        assert (output / f'{Path(row["image"]).stem}.jpg').exists()
        for one in row['detections']:
            assert one['class'] in ('Person', 'Car', 'Bicycle', 'OtherVehicle')
            assert 0.02 <= one['score'] <= 1
    overlay = cv2.imread(str(output / 'colour.jpg'))
    assert overlay.shape == (60, 80, 3)
    assert np.median(overlay[..., 2]) > np.median(overlay[..., 0]) + 100  # red stayed red


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


def test_evaluate_errors(
    run: Path, bundle: Path, hit_uav: Path, tmp_path: Path, capsys: Capture
) -> None:
    best = run / 'best.pt'
    assert 'no such checkpoint' in fails('evaluate', ['gone.pt', hit_uav], capsys)
    assert 'no such' in fails('evaluate', ['gone.mnssd', hit_uav], capsys)
    assert 'val.txt: no such file' in fails('evaluate', [best, tmp_path], capsys)
    split = [best, hit_uav, '--split', 'test']
    assert 'test.txt: no such file' in fails('evaluate', split, capsys)
    (tmp_path / 'text.pt').write_text('text')
    assert 'not a checkpoint' in fails('evaluate', [tmp_path / 'text.pt', hit_uav], capsys)
    (tmp_path / 'cut.mnssd').write_bytes(bundle.read_bytes()[:-300])
    assert 'not a zip archive' in fails('evaluate', [tmp_path / 'cut.mnssd', hit_uav], capsys)
    engine = [bundle, hit_uav, '--engine', 'steam']
    assert 'engine: expected one of auto, onnxruntime' in fails('evaluate', engine, capsys)
    other = tmp_path / 'other'
    shutil.copytree(hit_uav, other)
    for path in (other / 'Annotations').iterdir():
        path.write_text(path.read_text().replace('>Car<', '>Tank<'))
    assert "of class 'Tank'; known are" in fails('evaluate', [best, other], capsys)


def test_export_errors(run: Path, hit_uav: Path, tmp_path: Path, capsys: Capture) -> None:
    named = ['--name', 'tiny', '--version', '1', '--output', tmp_path]
    best = run / 'best.pt'
    assert 'no such checkpoint' in fails('export', ['gone.pt', hit_uav, *named], capsys)
    assert 'no such file' in fails('export', [best, tmp_path / 'gone', *named], capsys)
    document = [best, hit_uav, *named, '--document', 'gone.md']
    assert 'gone.md: cannot read the document' in fails('export', document, capsys)
    name = [best, hit_uav, *named, '--name', '../escape']
    assert 'name: expected letters' in fails('export', name, capsys)
    file = [best, hit_uav, *named, '--output', hit_uav / 'LICENSE']
    assert 'LICENSE: cannot be made' in fails('export', file, capsys)
    threshold = [best, hit_uav, *named, '--score-threshold', '7']
    assert 'score_threshold: expected more than 0' in fails('export', threshold, capsys)
    assert list(tmp_path.iterdir()) == []


def test_predict_errors(bundle: Path, hit_uav: Path, tmp_path: Path, capsys: Capture) -> None:
    images, with_bundle = (
        hit_uav / 'JPEGImages',
        ['--bundle', bundle, '--output', tmp_path / 'out'],
    )
    photograph = images / '0_60_50_0_06519.jpg'
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'text.jpg').write_text('text')

    def error(*arguments: object) -> str:
        return fails('predict', [*arguments], capsys)

    assert 'cannot read the image: No such file' in error('gone.jpg', *with_bundle)
    assert 'no image in this folder' in error(tmp_path / 'empty', *with_bundle)
    assert 'text.jpg: not an image' in error(tmp_path / 'text.jpg', *with_bundle)
    assert 'no such file or directory' in error(photograph, '--bundle', 'gone.mnssd')
    assert 'score_threshold' in error(photograph, *with_bundle, '--score-threshold', '0')
    assert 'text.jpg' in error(photograph, '--bundle', bundle, '--output', tmp_path / 'text.jpg')


def test_predict_never_writes_over_photographs(
    bundle: Path, hit_uav: Path, tmp_path: Path, capsys: Capture
) -> None:
    photograph = tmp_path / 'photograph.jpg'
    shutil.copy(hit_uav / 'JPEGImages' / '0_60_50_0_06519.jpg', photograph)
    before = photograph.read_bytes()
    arguments = [tmp_path, '--bundle', bundle, '--output', tmp_path]
    assert 'holds the images themselves' in fails('predict', arguments, capsys)
    (tmp_path / 'other').mkdir()
    shutil.copy(photograph, tmp_path / 'other' / 'photograph.png')
    arguments = [photograph, tmp_path / 'other', '--bundle', bundle, '--output', tmp_path / 'out']
    assert "there is another image named 'photograph'" in fails('predict', arguments, capsys)
    assert photograph.read_bytes() == before
    assert not (tmp_path / 'out').exists()


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
