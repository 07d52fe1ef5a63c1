"""Commands of all packages under one name."""

from argparse import ArgumentTypeError
from importlib import metadata
from pathlib import Path

from mnssd_perception import __main__, commands
from mnssd_perception.commands import (
    Command,
    command,
    format_table,
    installed_commands,
    positive_int,
    run_command,
    write_text,
)
from mnssd_perception.errors import MnssdError
import pytest

Capture = pytest.CaptureFixture[str]

ECHO = """
def main(arguments):
    print('echo', *arguments)
    return 3
"""


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """A command in a module of its own."""
    (tmp_path / 'echo_command.py').write_text(ECHO)
    monkeypatch.syspath_prepend(tmp_path)
    return Command('echo', 'group', 'repeat the arguments', 'echo_command')


def test_help_without_commands(capsys: Capture) -> None:
    assert run_command('mnssd', (), []) == 0
    assert capsys.readouterr().out.startswith('usage: mnssd COMMAND ...')


@pytest.mark.parametrize('arguments', [[], ['-h'], ['--help']])
def test_help_lists_commands_by_group(
    arguments: list[str], echo: Command, capsys: Capture
) -> None:
    assert run_command('mnssd', (echo,), arguments) == 0
    assert 'group:\n  echo  repeat the arguments\n' in capsys.readouterr().out


def test_a_command_gets_its_arguments_and_gives_the_exit_code(
    echo: Command, capsys: Capture
) -> None:
    assert run_command('mnssd', (echo,), ['echo', '--help', 'a b']) == 3
    assert capsys.readouterr().out == 'echo --help a b\n'


def test_an_unknown_command_is_wrong_usage(echo: Command, capsys: Capture) -> None:
    assert run_command('mnssd', (echo,), ['ehco']) == 2
    assert capsys.readouterr().err == "error: no command 'ehco'; did you mean 'echo'?\n"
    assert run_command('mnssd', (echo,), ['xyz']) == 2
    assert capsys.readouterr().err == "error: no command 'xyz'; available: echo\n"


def test_commands_of_other_packages_are_found(
    echo: Command, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    class Point:
        name = 'other'

        def load(self) -> tuple[Command, ...]:
            return (echo,)

    monkeypatch.setattr(metadata, 'entry_points', lambda group: [Point()] if group else [])
    assert installed_commands() == (echo,)
    assert __main__.main(['echo', 'x']) == 3
    assert __main__.main(['--help']) == 0
    out = capsys.readouterr().out
    assert '  demo ' in out
    assert '  echo ' in out


def test_a_drone_without_training_has_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(commands.metadata, 'entry_points', lambda group: [])
    assert __main__.main(['--help']) == 0
    assert '  demo ' in capsys.readouterr().out


def test_a_command_gives_its_exit_code(capsys: Capture) -> None:
    assert command(lambda: 3)() == 3
    assert command(lambda: None)() == 0
    assert capsys.readouterr().err == ''


def test_errors_become_exit_codes(capsys: Capture) -> None:
    @command
    def fail(error: BaseException) -> None:
        raise error

    assert fail(MnssdError('two\n  lines')) == 1
    assert capsys.readouterr().err == 'error: two lines\n'
    assert fail(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == 'interrupted\n'
    with pytest.raises(ZeroDivisionError):
        fail(ZeroDivisionError())


@pytest.mark.parametrize('text', ['0', '-1', '1.5', '', 'x', '\u00b2'])
def test_numbers_below_one_are_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match='at least 1'):
        positive_int(text)


def test_table() -> None:
    assert format_table(('a', 'b'), []) == 'a  b'
    rows = [('x', 1.5), ('longer', '-'), ('\x1b', '+10.25')]
    assert format_table(('name', 'ms'), rows) == (
        'name        ms\nx          1.5\nlonger       -\n\\x1b    +10.25'
    )


def test_text_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    write_text(tmp_path / 'a', 'für')
    assert (tmp_path / 'a').read_bytes() == 'für'.encode()
    with pytest.raises(MnssdError, match="none/a' cannot be written: No such file"):
        write_text(tmp_path / 'none' / 'a', '')
