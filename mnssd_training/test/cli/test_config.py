"""The command ``mnssd config``."""

import json
from pathlib import Path

from mnssd_training.cli.config import main
from mnssd_training.config import fingerprint, json_schema, load_experiment, shipped_experiments
import pytest

Capture = pytest.CaptureFixture[str]


def test_show_lists_experiments_with_a_summary(capsys: Capture) -> None:
    assert main(['show']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped_experiments())
    assert all(len(line.split()) > 3 and line.endswith('.') for line in lines)


def test_show(capsys: Capture) -> None:
    assert main(['show', 'smoke', 'training.epochs=7']) == 0
    out = capsys.readouterr().out
    expected = fingerprint(load_experiment('smoke', ['training.epochs=7']))
    assert out.startswith(f'# fingerprint {expected}\n')
    assert '  epochs: 7  ' in out
    assert '# command line' in out
    assert '# smoke.yaml:' in out


def test_show_as_json(capsys: Capture) -> None:
    assert main(['show', 'smoke', 'training.epochs=7', '--json']) == 0
    shown = json.loads(capsys.readouterr().out)
    experiment = load_experiment('smoke', ['training.epochs=7'])
    assert shown['experiment'] == experiment.model_dump(mode='json')
    assert shown['fingerprint'] == fingerprint(experiment)
    assert shown['origins']['training.epochs'] == 'command line'


def test_show_of_an_invalid_experiment(capsys: Capture) -> None:
    assert main(['show', 'smoke', 'training.epoch=7']) == 1
    out, err = capsys.readouterr()
    assert out == ''
    assert err == (
        "error: command line: unknown key 'training.epoch'; did you mean 'training.epochs'?\n"
    )


def test_check_reports_all_problems(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / 'own.yaml'
    path.write_text('_base_: smoke\ntraining:\n  epochs: 0\n  sead: 1\n')
    assert main(['check', 'smoke', str(path), str(tmp_path), 'gone.yaml']) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        'smoke: valid',
        f'{path}: invalid',
        f'  {path}:3: training.epochs: expected more than 0, got 0',
        f"  {path}:4: unknown key 'training.sead'; did you mean 'training.seed'?",
        f'{tmp_path}: invalid',
        f'  {tmp_path}: is a directory',
        'gone.yaml: invalid',
        "  no such experiment 'gone.yaml'; available: " + ', '.join(shipped_experiments()),
    ]
    assert err == 'error: 3 of 4 experiments are invalid\n'


def test_check_of_valid_experiments(capsys: Capture) -> None:
    assert main(['check', *shipped_experiments()]) == 0
    out, err = capsys.readouterr()
    assert out.count(': valid\n') == len(shipped_experiments())
    assert err == ''


def test_file_name_that_is_not_utf8(capsys: Capture) -> None:
    assert main(['check', 'a\udcff.yaml']) == 1
    assert 'a\\udcff.yaml: invalid' in capsys.readouterr().out


def test_schema(tmp_path: Path, capsys: Capture) -> None:
    assert main(['schema']) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()
    path = tmp_path / 'schema.json'
    assert main(['schema', '--output', str(path)]) == 0
    assert capsys.readouterr().out == f'# yaml-language-server: $schema={path}\n'
    assert json.loads(path.read_text()) == json_schema()


def test_schema_write_error(tmp_path: Path, capsys: Capture) -> None:
    assert main(['schema', '--output', str(tmp_path)]) == 1
    assert capsys.readouterr().err == f'error: {tmp_path}: cannot be written: Is a directory\n'


@pytest.mark.parametrize('arguments', [[], ['draw'], ['check']], ids=['none', 'other', 'no file'])
def test_usage(arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert 'usage: mnssd config' in capsys.readouterr().err
