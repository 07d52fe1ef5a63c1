"""Every command says what is wrong with its arguments."""

from mnssd_training.__main__ import COMMANDS, main
import pytest


@pytest.mark.parametrize('name', [command.name for command in COMMANDS])
def test_unknown_flags_are_wrong_usage(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([name, '--no-such-flag'])
    assert left.value.code == 2
    assert 'error: ' in capsys.readouterr().err
