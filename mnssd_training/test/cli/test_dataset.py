"""``dataset`` and ``anchors`` as a user meets them."""

from collections.abc import Sequence
import json
from pathlib import Path
import shutil

import cv2
from mnssd_training.cli import anchors, dataset
import pytest

Capture = pytest.CaptureFixture[str]
SMALL = ['input.size=[96, 120]', 'training.batch_size=4']
VERBS = {'dataset': dataset.main, 'anchors': anchors.main}


def fails(verb: str, arguments: Sequence[object], capsys: Capture) -> str:
    """Run a verb that must fail with one line on stderr; return that line."""
    capsys.readouterr()
    assert VERBS[verb](list(map(str, arguments))) == 1
    err = capsys.readouterr().err
    assert err.startswith('error: ')
    assert err.count('\n') == 1
    return err


@pytest.fixture
def corrupted(hit_uav: Path, tmp_path: Path) -> Path:
    """A copy with one name."""
    root = tmp_path / 'corrupted'
    shutil.copytree(hit_uav, root)
    (root / 'JPEGImages' / '0_60_50_0_06519.jpg').write_bytes(b'')
    return root


# --- check -----------------------------------------------------------------------------------


def test_check_of_a_clean_folder_succeeds(hit_uav: Path, capsys: Capture) -> None:
    assert dataset.main(['check', str(hit_uav), '--quiet']) == 0
    out, err = capsys.readouterr()
    assert out.startswith('8 images, 38 boxes\n')
    assert out.endswith('0 errors, 5 warnings, 1 notes\n')
    assert err == ''


def test_check_of_a_path_that_is_too_long_is_refused(capsys: Capture) -> None:
    assert 'no such folder or experiment' in fails('dataset', ['check', 'x' * 5000], capsys)


def test_check_fails_for_an_error_and_writes_json(
    corrupted: Path, tmp_path: Path, capsys: Capture
) -> None:
    report = tmp_path / 'reports' / 'faults.json'
    arguments = ['check', corrupted, '--quiet', '--json', report]
    assert '1 problems' in fails('dataset', arguments, capsys)
    plain = json.loads(report.read_text())
    assert plain['counts']['error'] == 1
    (problem,) = (item for item in plain['problems'] if item['severity'] == 'error')
    assert problem['kind'] == 'image unreadable'
    assert problem['file'].endswith('JPEGImages/0_60_50_0_06519.jpg')


def test_check_prints_a_problem_with_its_hint(corrupted: Path, capsys: Capture) -> None:
    dataset.main(['check', str(corrupted), '--quiet'])
    lines = capsys.readouterr().out.splitlines()
    start = lines.index('error: image unreadable (1)')
    assert lines[start + 1].startswith('  JPEGImages/0_60_50_0_06519.jpg: ')
    assert lines[start + 2].startswith('  -> fetch the image again')


def test_check_of_an_experiment_includes_the_network(hit_uav: Path, capsys: Capture) -> None:
    arguments = ['check', 'smoke', f'data.root={hit_uav}', *SMALL, '--quiet']
    arguments.append('augmentation.min_box_size=3')
    assert dataset.main(arguments) == 0
    out = capsys.readouterr().out
    assert 'note: box small for network' in out
    assert 'less than 3' in out


def test_priors_that_fit_few_boxes_are_an_error_with_advice(
    hit_uav: Path, capsys: Capture
) -> None:
    more = f'data.extra_sources=[{{root: {hit_uav}, train_split: val, val_split: ""}}]'
    arguments = ['check', 'smoke', f'data.root={hit_uav}', more, 'data.val_split=""', '--quiet']
    assert dataset.main(arguments) == 0
    capsys.readouterr()
    misfit = ['input.size=[300, 300]', 'priors.layout=original']
    assert dataset.main([*arguments, *misfit]) == 1
    out = capsys.readouterr().out
    assert 'error: most boxes without prior' in out
    assert 'enlarge input.size, add a finer stride to priors.strides' in out
    assert 'mnssd anchors EXPERIMENT' in out


def test_strict_fails_for_warnings(hit_uav: Path, capsys: Capture) -> None:
    assert '5 problems' in fails('dataset', ['check', hit_uav, '--quiet', '--strict'], capsys)


def test_shown_limits_the_listed_problems(hit_uav: Path, capsys: Capture) -> None:
    dataset.main(['check', str(hit_uav), '--quiet', '--shown', '1'])
    assert '  and 3 more\n' in capsys.readouterr().out


# --- stats -----------------------------------------------------------------------------------


def test_stats(hit_uav: Path, tmp_path: Path, capsys: Capture) -> None:
    page, plain = tmp_path / 'stats.html', tmp_path / 'stats.json'
    arguments = ['stats', 'smoke', f'data.root={hit_uav}', *SMALL]
    assert dataset.main([*arguments, '--html', str(page), '--json', str(plain)]) == 0
    out = capsys.readouterr().out
    assert 'train: 4 images, 0 of them without objects; 17 objects' in out
    assert 'image sizes: 640 x 512 (4)' in out
    figures = json.loads(plain.read_text())
    assert list(figures) == ['train', 'val']
    assert figures['train']['classes']['Car']['num_boxes'] == 10
    assert sum(figures['train']['classes']['Car']['in_network']) == 10
    assert page.read_text().startswith('<!doctype html>')


def test_stats_tell_the_shares_of_balanced_sampling(hit_uav: Path, capsys: Capture) -> None:
    groups = 'data.sampling.groups="^(?P<time>[01])_"'
    assert dataset.main(['stats', 'smoke', f'data.root={hit_uav}', groups]) == 0
    assert '\nsampling: time: 0 75.0 -> 50.0 %, 1 25.0 -> 50.0 %\n' in capsys.readouterr().out


def test_stats_of_one_split(hit_uav: Path, capsys: Capture) -> None:
    assert dataset.main(['stats', str(hit_uav), '--split', 'val']) == 0
    out = capsys.readouterr().out
    assert out.startswith('val: 4 images')
    assert 'train' not in out


# --- preview ---------------------------------------------------------------------------------


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_preview(hit_uav: Path, tmp_path: Path, capsys: Capture, suffix: str) -> None:
    path = tmp_path / f'preview{suffix}'
    arguments = ['preview', str(hit_uav), '--num', '3', '--width', '200', '--output', str(path)]
    assert dataset.main(arguments) == 0
    assert capsys.readouterr().out == f'3 images: {path}\n'
    assert cv2.imread(str(path)).shape[1] == 3 * (200 + 8) + 8


def test_preview_of_augmented_samples(hit_uav: Path, tmp_path: Path) -> None:
    arguments = ['preview', 'smoke', f'data.root={hit_uav}', *SMALL, '--augmented', '--num', '2']
    pages = []
    for epoch, flags in ((0, []), (1, []), (0, ['--matched'])):
        path = tmp_path / f'{epoch}{len(flags)}.html'
        assert (
            dataset.main([*arguments, '--epoch', str(epoch), *flags, '--output', str(path)]) == 0
        )
        pages.append(path.read_text())
    assert len(set(pages)) == 3
    assert all(page.count('<figcaption>') == 2 for page in pages)
    assert ' ignored<' in pages[2]


def test_preview_of_a_class(hit_uav: Path, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / 'preview.jpg'
    arguments = ['preview', str(hit_uav), '--class', 'OtherVehicle', '--output', str(path)]
    assert dataset.main(arguments) == 0
    assert capsys.readouterr().out == f'1 images: {path}\n'


def test_look_is_now_preview(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as left:
        dataset.main(['look', 'hit_uav'])
    assert left.value.code == 2
    assert "'look' is now called 'preview'" in capsys.readouterr().err


# --- anchors ---------------------------------------------------------------------------------


def test_anchors(hit_uav: Path, tmp_path: Path, capsys: Capture) -> None:
    arguments = ['smoke', f'data.root={hit_uav}', *SMALL, '--clusters', '3', '--num', '1']
    assert anchors.main([*arguments, '--output', str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith('4 images, 17 boxes, input (96, 120)\n')
    for reason in ('clusters', 'this experiment (clustered)', 'original', 'finetune', 'ssdlite'):
        assert reason in out
    assert out.count('Person') == 1
    section = out[out.index('priors:\n') : out.index('image: ')]
    assert 'layout: clustered\n  strides: [8, 16, 32]\n  priors_per_cell: [' in section
    for name in ('sizes', 'cells', 'images'):
        assert cv2.imread(str(tmp_path / f'{name}.png')) is not None


# --- what is wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('verb', 'arguments', 'reason'),
    [
        ('dataset', ['check', '{empty}'], 'cannot tell its format'),
        ('dataset', ['check', '{empty}', '--format', 'voc'], 'no list of a split'),
        ('dataset', ['check', '{data}', 'data.root=x'], "'data.root=x' changes an experiment"),
        ('dataset', ['check', 'smoke', 'data.root=nowhere'], 'nowhere: no such folder'),
        ('dataset', ['stats', '{data}', '--split', 'test'], 'test.txt: no such file'),
        ('dataset', ['preview', '{data}', '--class', 'Tank'], '--class: expected one of Person, '),
        ('dataset', ['preview', '{data}', '--matched'], 'need an experiment'),
        (
            'dataset',
            ['preview', '{data}', '--output', '{data}/x.docx'],
            'expected a suffix of .jpg',
        ),
        (
            'dataset',
            ['preview', '{data}', '--output', '{data}/classes.txt/x.png'],
            'cannot be writ',
        ),
        ('anchors', ['smoke', 'data.root=nowhere'], 'nowhere'),
        ('anchors', ['no_such'], 'no_such'),
    ],
)
def test_bad_input_is_one_line(
    verb: str, arguments: list[str], reason: str, hit_uav: Path, tmp_path: Path, capsys: Capture
) -> None:
    data = tmp_path / 'data'
    shutil.copytree(hit_uav, data)
    (tmp_path / 'empty').mkdir()
    filled = [text.format(data=data, empty=tmp_path / 'empty') for text in arguments]
    assert reason in fails(verb, filled, capsys)
