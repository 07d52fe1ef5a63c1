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
