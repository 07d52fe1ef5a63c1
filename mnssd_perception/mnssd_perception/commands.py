"""
Commands of ``mnssd``, listed without importing them, and what all of them share.

Other distributions add commands by the entry point group ``mnssd.commands``, so ``mnssd`` exists
on a drone without training too.
"""

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from importlib import import_module, metadata
from pathlib import Path
import re
import signal
import sys
from typing import ParamSpec

from mnssd_perception.errors import MnssdError
from mnssd_perception.files import explain_write_error, write_atomically
from mnssd_perception.text import did_you_mean, sanitize_text

P = ParamSpec('P')
NUMBER = re.compile(r'[+-]?\d+(\.\d+)?|-')


@dataclass(frozen=True)
class Command:
    """A command of the command line."""

    name: str
    group: str  # heading in the help
    summary: str
    module: str  # has `main(arguments) -> exit code`; imported only to run the command


def installed_commands() -> tuple[Command, ...]:
    """List the commands that other distributions add."""
    # Sorted, because the order of sys.path differs between workspaces.
    points = sorted(metadata.entry_points(group='mnssd.commands'), key=lambda point: point.name)
    return tuple(command for point in points for command in point.load())


def run_command(
    program: str, commands: Sequence[Command], arguments: Sequence[str] | None = None
) -> int:
    """Run the command that the first argument names; return 2 if there is no such command."""
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ['--help']
    name, *command_arguments = arguments
    modules = {command.name: command.module for command in commands}
    if name in modules:
        return int(import_module(modules[name]).main(command_arguments) or 0)
    if name in ('-h', '--help'):
        print(f'usage: {program} COMMAND ...')
        width = max(map(len, modules), default=0) + 2
        for group in dict.fromkeys(command.group for command in commands):
            print(f'\n{group}:')
            for command in commands:
                if command.group == group:
                    print(f'  {command.name:<{width}}{command.summary}')
        print('\nEach command describes its arguments with --help.')
        return 0
    print(f'error: no command {name!r}; {did_you_mean(name, modules)}', file=sys.stderr)
    return 2


def command(run: Callable[P, int | None]) -> Callable[P, int]:
    """Make a function return its exit code: 0, 1 for an error on stderr, 128 + n for signal n."""

    @wraps(run)
    def run_and_report(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return run(*args, **kwargs) or 0
        except MnssdError as error:
            print('error:', ' '.join(str(error).split()), file=sys.stderr)
            return 1
        except KeyboardInterrupt as stop:
            print(str(stop) or 'interrupted', file=sys.stderr)
            return 128 + getattr(stop, 'signum', signal.SIGINT)
        except BrokenPipeError:
            sys.stderr.close()
        return 0

    return run_and_report


def make_parser(name: str, description: str | None, examples: str) -> ArgumentParser:
    """Make the parser of ``mnssd NAME``, whose help ends with examples, one per line."""
    return ArgumentParser(
        f'mnssd {name}',
        description=description,
        epilog=f'examples:\n{examples}',
        formatter_class=RawDescriptionHelpFormatter,
    )


def positive_int(text: str) -> int:
    """Parse an argument of at least 1."""
    if not (text.isdecimal() and int(text)):
        raise ArgumentTypeError(f'expected a whole number of at least 1, got {text!r}')
    return int(text)


def write_text(path: Path, text: str) -> None:
    """Write what a user asked for in UTF-8; an OSError becomes an MnssdError."""
    content = text.encode()
    try:
        write_atomically(path, content)
    except OSError as error:
        reason = explain_write_error(error, path, len(content))
        raise MnssdError(f"'{path}' cannot be written: {reason}") from error


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """
    Align rows under a header; columns of numbers to the right.

    :param rows: as many values as the header has; each is made safe to show on a terminal.
    """
    cells = [[sanitize_text(value) for value in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    is_number = [all(map(NUMBER.fullmatch, column)) for column in zip(*cells[1:])]
    is_number = is_number or [False] * len(header)
    return '\n'.join(
        '  '.join(
            f'{cell:>{width}}' if right else f'{cell:<{width}}'
            for cell, width, right in zip(row, widths, is_number)
        ).rstrip()
        for row in cells
    )
