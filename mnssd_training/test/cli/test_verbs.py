"""Every verb says how it is used."""

from importlib import import_module

from mnssd_training.__main__ import VERBS
import pytest

Capture = pytest.CaptureFixture[str]


def main_of(verb: str):  # type: ignore[no-untyped-def]
    return import_module(f'mnssd_training.cli.{verb.replace("-", "_")}').main


@pytest.mark.parametrize('verb', VERBS)
def test_help(verb: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as left:
        main_of(verb)(['--help'])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith(f'usage: {verb} ')


@pytest.mark.parametrize('verb', VERBS)
def test_wrong_usage(verb: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as left:
        main_of(verb)(['--no-such-flag'])
    assert left.value.code == 2
    assert 'error: ' in capsys.readouterr().err
