"""
Commands of ``mnssd``, listed without importing them.

Other distributions add commands by the entry point group ``mnssd.commands``, so ``mnssd`` exists
on a drone without training too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
import sys

from mnssd_perception.text import did_you_mean

ENTRY_POINT_GROUP = 'mnssd.commands'


@dataclass(frozen=True)
class Command:
    """
    A command of the command line.

    :ivar group: heading in the help.
    :ivar module: has ``main(arguments) -> exit code``; imported only to run the command.
    """

    name: str
    group: str
    summary: str
    module: str


def installed_commands() -> tuple[Command, ...]:
    """List the commands that other distributions add."""
    # Sorted, because the order of sys.path differs between workspaces.
    points = sorted(metadata.entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name)
    return tuple(command for point in points for command in point.load())


def run_command(
    program: str, commands: Sequence[Command], arguments: Sequence[str] | None = None
) -> int:
    """
    Run the command that the first argument names.

    :param program: its name in the help.
    :param arguments: None for those of the process.
    :return: the exit code; 2 if there is no such command.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ['--help']
    name, *command_arguments = arguments
    modules = {command.name: command.module for command in commands}
    if name in modules:
        return int(import_module(modules[name]).main(command_arguments) or 0)
    if name in ('-h', '--help'):
        print(_help_text(program, commands))
        return 0
    print(f'error: no command {name!r}; {did_you_mean(name, modules)}', file=sys.stderr)
    return 2


def _help_text(program: str, commands: Sequence[Command]) -> str:
    """List the commands by group."""
    lines = [f'usage: {program} COMMAND ...']
    width = max((len(command.name) for command in commands), default=0) + 2
    for group in dict.fromkeys(command.group for command in commands):
        lines += ['', f'{group}:']
        lines += [
            f'  {command.name:<{width}}{command.summary}'
            for command in commands
            if command.group == group
        ]
    return '\n'.join([*lines, '', 'Each command describes its arguments with --help.'])
