"""Every command says what is wrong with its arguments, and names commands as they are typed."""

import re

from mnssd_training.__main__ import COMMANDS, main
from mnssd_training.data.problems import HINTS
import pytest


@pytest.mark.parametrize('name', [command.name for command in COMMANDS])
def test_unknown_flags_are_wrong_usage(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([name, '--no-such-flag'])
    assert left.value.code == 2
    assert 'error: ' in capsys.readouterr().err


@pytest.mark.parametrize('name', [command.name for command in COMMANDS])
def test_examples_can_be_typed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([name, '--help'])
    _, _, examples = capsys.readouterr().out.partition('examples:\n')
    for line in examples.partition('\n\n')[0].splitlines():
        assert re.match(r'  (mnssd|torchrun|ros2 run|python -m) |   {3,}', line)


def test_commands_in_hints_can_be_typed() -> None:
    text = '; '.join(hint for hints in HINTS.values() for hint in hints.values())
    assert 'mnssd dataset preview' in text
    assert not re.search(r'(?<!mnssd )\b(dataset (preview|check|stats)|anchors)\b', text)
