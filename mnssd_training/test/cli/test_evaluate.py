"""``evaluate`` as a user meets it."""

from collections.abc import Callable
from dataclasses import replace
import html.parser
import json
from pathlib import Path
import shutil
from types import SimpleNamespace

from mnssd_training.cli import evaluate
from mnssd_training.config import SourceConfig
from mnssd_training.data import read_samples
from mnssd_training.data.hard_negatives import attach_hard_negatives
import onnx
import pytest

Capture = pytest.CaptureFixture[str]
NAMES = ['Person', 'Car', 'Bicycle', 'OtherVehicle']


def scores(capsys: Capture, *arguments: object) -> dict:
    """Run the verb and read what it prints."""
    capsys.readouterr()
    assert evaluate.main([*map(str, arguments), '--json', '-', '--quiet']) == 0
    return json.loads(capsys.readouterr().out)


def test_checkpoint_network_and_bundle_score_the_same(
    checkpoint: Path, network: Path, bundle: Path, hit_uav: Path, capsys: Capture
) -> None:
    through_torch = scores(capsys, checkpoint)  # on the data it was trained on
    alone = scores(capsys, network, hit_uav)
    packed = scores(capsys, bundle, hit_uav, '--format', 'voc')
    assert alone['scores'] == packed['scores']
    assert through_torch['scores']['num_objects'] == packed['scores']['num_objects']
    for name in ('map50',):
        wanted = packed['scores'][name]
        assert through_torch['scores'][name] == pytest.approx(wanted, abs=0.02)
    kinds = [one['measured_on']['model'] for one in (through_torch, alone, packed)]
    assert [kind.rpartition('(')[2] for kind in kinds] == ['checkpoint)', 'ONNX file)', 'bundle)']
    assert packed['confusion']['score_threshold'] == 0.1  # that of the bundle
    assert packed['confusion']['names'] == [*NAMES, 'background']
    assert set(packed['speed']['stages']) == {'preprocess', 'engine', 'postprocess', 'total'}


def test_printed_tables(checkpoint: Path, hit_uav: Path, capsys: Capture) -> None:
    arguments = [checkpoint, hit_uav, '--split', 'train', '--ious', '0.5,0.75', '--quiet']
    assert evaluate.main(list(map(str, arguments))) == 0
    tables = capsys.readouterr().out.split('\n\n')
    head, *rows = tables[0].splitlines()
    assert head.split()[:2] == ['class', 'objects']
    assert [row.split()[:2] for row in rows] == [
        ['Person', '4'], ['Car', '10'], ['Bicycle', '2'], ['OtherVehicle', '1'], ['mean', '17'],
    ]  # fmt: skip
    assert {len(row) for row in (head, *rows)} == {len(head)}
    assert [table.split()[0] for table in tables[1:]] == [
        'size',
        'IoU',
        'class',
        'ground',
        'ms',
    ]


def test_data_of_an_experiment(
    checkpoint: Path, bundle: Path, hit_uav: Path, capsys: Capture
) -> None:
    of_experiment = ['smoke', f'data.root={hit_uav}', 'data.val_split=train']
    found = scores(capsys, bundle, *of_experiment)
    assert found['scores']['num_objects']['Car'] == 10
    assert '4, with 17 objects' in found['measured_on']['images']
    limited = scores(capsys, checkpoint, '--limit', '2')
    assert limited['measured_on']['images'].startswith('2, ')


def test_hard_negatives_can_be_trained_on(
    checkpoint: Path, hit_uav: Path, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / 'negatives.json'
    options = ['--split', 'train', '--score-threshold', '0.01', '--hard-negatives', path]
    scores(capsys, checkpoint, hit_uav, *options)
    entries = json.loads(path.read_text())
    assert {entry['class_name'] for entry in entries} <= set(NAMES)
    values = [entry['score'] for entry in entries]
    assert values == sorted(values, reverse=True)
    train = read_samples(SourceConfig(root=str(hit_uav)), 'train')
    attached, _ = attach_hard_negatives(train, str(path))
    assert sum(len(sample.hard_negatives) for sample in attached) == len(entries) > 4


def test_several_datasets(bundle: Path, hit_uav: Path, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / 'both.yaml'
    file.write_text(
        f'experiment: {{id: both}}\ndata:\n  root: {hit_uav}\n'
        f'  extra_sources: [{{root: {hit_uav}, val_split: train}}]\n'
    )
    found = scores(capsys, bundle, file)
    assert sum(found['scores']['num_objects'].values()) == 17 + 17
    assert {failure['image'][:2] for failure in found['failures']} == {'0/', '1/'}


class Page(html.parser.HTMLParser):
    """What a page opens, closes, loads and says."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or '' for name, value in attrs if name in ('src', 'href')]
        if tag not in ('meta', 'img', 'br', 'path', 'circle'):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ('path', 'circle'):
            assert self.open.pop() == tag


def test_the_page_needs_no_other_file(bundle: Path, hit_uav: Path, tmp_path: Path) -> None:
    file = tmp_path / 'deep' / 'report.html'
    arguments = [bundle, hit_uav, '--html', file, '--score-threshold', '0.3', '--quiet']
    assert evaluate.main(list(map(str, arguments))) == 0
    page = Page()
    text = file.read_text()
    page.feed(text)
    assert page.open == []
    assert 'script' not in page.tags
    assert page.tags.count('img') > 5
    kinds = [load.partition(';')[0] for load in page.loads]
    assert kinds.count('data:image/svg+xml') == 1
    assert kinds.count('data:image/jpeg') == len(kinds) - 1
    assert 'tiny-0.1.0.mnssd on hit_uav' in text
    assert 'http' not in text.replace('http-equiv', '')


def test_two_models_are_compared(
    checkpoint: Path, bundle: Path, hit_uav: Path, tmp_path: Path, capsys: Capture
) -> None:
    page = tmp_path / 'report.html'
    found = scores(capsys, bundle, hit_uav, '--compare', checkpoint, '--html', page)
    other = found['compared_with']
    assert other['model'] == f'{checkpoint} (checkpoint)'
    assert other['scores']['num_objects'] == found['scores']['num_objects']
    assert set(other) == set(found) - {'compared_with', 'measured_on'}
    text = page.read_text()
    assert '<h2>Comparison</h2>' in text
    assert text.count('<figure class="image">') == 2 * 4  # both in each of the four images


def test_models_of_other_classes_are_not_compared(
    bundle: Path, hit_uav: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., str]
) -> None:
    real = evaluate.open_predictor(str(bundle), 'auto')
    spec = replace(real.detector.spec, class_names=('a', 'b', 'c', 'd'))
    predictors = {str(bundle): real, 'other': SimpleNamespace(detector=SimpleNamespace(spec=spec))}
    monkeypatch.setattr(evaluate, 'open_predictor', lambda path, *_: predictors[path])
    error = fails(evaluate.main, bundle, hit_uav, '--compare', 'other')
    assert (
        'expected a model with the classes Person, Car, Bicycle, OtherVehicle, got a, b' in error
    )


def test_classes_are_renamed(
    checkpoint: Path, hit_uav: Path, tmp_path: Path, capsys: Capture, fails: Callable[..., str]
) -> None:
    other = tmp_path / 'other'
    shutil.copytree(hit_uav, other)
    for path in (*(other / 'Annotations').iterdir(), other / 'classes.txt'):
        path.write_text(path.read_text().replace('>Car<', '>Tank<').replace('Car\n', 'Tank\n'))
    assert "of class 'Tank'; available: Person, Car" in fails(evaluate.main, checkpoint, other)
    found = scores(capsys, checkpoint, other, '--class-map', 'Tank=Car')
    assert found['scores']['num_objects']['Car'] == 9
    hidden = scores(capsys, checkpoint, other, '--class-map', 'Tank=')
    assert hidden['scores']['num_objects']['Car'] == 0


# --- what fails ------------------------------------------------------------------------------


def test_invalid_models(
    network: Path, bundle: Path, hit_uav: Path, tmp_path: Path, fails: Callable[..., str]
) -> None:
    def error(model: object, *others: object) -> str:
        return fails(evaluate.main, model, hit_uav, *others)

    assert 'no such checkpoint' in error('gone.pt')
    assert 'no such file or directory' in error('gone.mnssd')
    assert 'gone.onnx: cannot read the network' in error('gone.onnx')
    for name in ('text.pt', 'text.onnx'):
        (tmp_path / name).write_text('text')
    assert 'damaged: not a file of torch' in error(tmp_path / 'text.pt')
    assert 'text.onnx: not an ONNX network' in error(tmp_path / 'text.onnx')
    (tmp_path / 'cut.mnssd').write_bytes(bundle.read_bytes()[:-300])
    assert 'not a zip archive' in error(tmp_path / 'cut.mnssd')
    assert 'engine: expected one of auto, tensorrt' in error(bundle, '--engine', 'steam')
    foreign = onnx.load(network)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / 'foreign.onnx')
    assert "expected an ONNX network with the metadata 'mnssd_spec'" in error(
        tmp_path / 'foreign.onnx'
    )


@pytest.mark.parametrize(
    ('flag', 'new'),
    [('--rename', '--class-map'), ('--experiment', 'an argument: MODEL FILE key.path=value')],
)
def test_former_flags_are_refused(flag: str, new: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as left:
        evaluate.main(['best.pt', flag, 'a=b'])
    assert left.value.code == 2
    assert f'{flag} is now {new}' in capsys.readouterr().err


def test_invalid_data(
    checkpoint: Path, bundle: Path, hit_uav: Path, tmp_path: Path, fails: Callable[..., str]
) -> None:
    def error(*arguments: object) -> str:
        return fails(evaluate.main, *arguments)

    assert 'no such folder or experiment' in error(checkpoint, tmp_path / 'gone')
    assert 'cannot tell its format' in error(checkpoint, tmp_path)
    assert 'has no list of a split' in error(checkpoint, tmp_path, '--format', 'voc')
    assert 'test' in error(checkpoint, hit_uav, '--split', 'test')
    assert 'expected the folder of a dataset or an experiment' in error(bundle)
    assert 'changes an experiment, but' in error(bundle, hit_uav, 'training.epochs=3')
    assert '--class-map: expected A=B' in error(bundle, hit_uav, '--class-map', 'Car')
    (tmp_path / 'file').write_text('')
    page = tmp_path / 'file' / 'report.html'
    assert 'cannot be written' in error(bundle, hit_uav, '--limit', '1', '--html', page)


@pytest.mark.parametrize(
    'wrong',
    [
        ['--limit', '0'],
        ['--score-threshold', '1'],
        ['--ious', '0.5,x'],
        ['--format', 'csv'],
        [],
    ],
    ids=['limit', 'score', 'ious', 'format', 'nothing'],
)
def test_invalid_arguments(wrong: list[str], capsys: Capture) -> None:
    model = ['model.pt'] if wrong else []
    with pytest.raises(SystemExit) as left:
        evaluate.main([*model, *wrong])
    assert left.value.code == 2
    assert 'evaluate: error: ' in capsys.readouterr().err
