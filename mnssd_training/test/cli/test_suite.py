"""The command ``suite``."""

from collections.abc import Callable
import json
from pathlib import Path

from mnssd_training.cli import suite
import pytest

Fails = Callable[..., str]

FILE = """
experiment: smoke
recipes: {control: {}, giou: {overrides: [loss.localization=giou]}}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path('pair.yaml').write_text(FILE)
    return 'pair.yaml'


def test_dry_run_lists_commands(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert suite.main([file, 'training.epochs=7', '--dry-run']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == 'giou_all_1337 (missing):'
    assert 'train smoke loss.localization=giou training.seed=1337 training.epochs=7' in lines[3]
    assert '--run-folder runs/pair/giou_all_1337_' in lines[3]
    assert not Path('runs').exists()


def test_report_needs_no_runs(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert suite.main([file, '--report', '--json', 'a/b.json', '--markdown', 'a/b.md']) == 0
    assert 'no scores: control, block all, seed 1337: missing' in capsys.readouterr().out
    assert len(json.loads(Path('a/b.json').read_text())['runs']) == 2
    assert Path('a/b.md').read_text().startswith('| recipe |')


@pytest.mark.slow
def test_failed_runs_are_an_error_after_the_table(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert suite.main([file, 'data.root=no_such_folder', '--jobs', '2']) == 1
    out, err = capsys.readouterr()
    assert 'no scores: giou, block all, seed 1337: failed (' in out
    assert err.startswith('error: 2 of 2 runs failed: ')
    assert 'no such folder; set data.root' in err


@pytest.mark.parametrize('text', ['0', '-1', 'nan', 'inf', 'soon'])
def test_time_limit_is_a_number_of_seconds(
    file: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        suite.main([file, '--time-limit', text])
    assert 'expected a number of seconds above 0' in capsys.readouterr().err


def test_unknown_suite_is_an_error(fails: Fails) -> None:
    assert 'no such suite' in fails(suite.main, 'no_such')
