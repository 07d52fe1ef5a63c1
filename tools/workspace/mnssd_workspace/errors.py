"""What can keep a workspace from being set up, each with the way out."""

from __future__ import annotations

from pathlib import Path

__all__ = [
    'BrokenBuildError',
    'BusyError',
    'CommandError',
    'CompilerError',
    'DiskError',
    'DiskFullError',
    'ForeignEnvironmentError',
    'HashError',
    'MissingVenvError',
    'MissingWheelError',
    'NetworkError',
    'NoWorkspaceError',
    'PythonError',
    'PythonHeadersError',
    'RosError',
    'WorkspaceError',
]


class WorkspaceError(Exception):
    """Root of everything that `setup` and `run` report in one paragraph."""


class PythonError(WorkspaceError):
    """
    Raise when this Python cannot carry the workspace.

    :param reason: what was expected, then what was found.
    :param others: fitting interpreters that were found on the PATH.
    """

    def __init__(self, reason: str, others: tuple[str, ...] = ()):
        """Word the reason, and the way out."""
        way_out = 'install one, or source a ROS 2 and use its python3'
        if others:
            way_out = f'{others[0]} is installed: choose it with `make setup PYTHON={others[0]}`'
        super().__init__(f'{reason}; {way_out}')
        self.others = others


class RosError(WorkspaceError):
    """Raise when the sourced ROS 2 and this Python do not fit."""


class MissingVenvError(WorkspaceError):
    """Raise when Python comes without its venv module, as Debian ships it."""

    def __init__(self, version: str):
        """
        Word the package that is missing.

        :param version: of Python, for example ``3.12``.
        """
        super().__init__(
            f'python{version} has no complete venv module; on Debian and Ubuntu install it with '
            f'`sudo apt install python{version}-venv`'
        )


class PythonHeadersError(WorkspaceError):
    """Raise when Python.h, which the message packages are compiled with, is not there."""

    def __init__(self, folder: str, version: str):
        """
        Word the folder that was looked in.

        :param folder: where Python says that its headers are.
        :param version: of Python, for example ``3.12``.
        """
        super().__init__(
            f'expected Python.h in {folder}, which compiling the messages needs; on Debian and '
            f'Ubuntu install it with `sudo apt install python{version}-dev`'
        )
        self.folder = folder


class CompilerError(WorkspaceError):
    """Raise when no working C and C++ compiler is found."""

    def __init__(self, language: str, reason: str):
        """
        Word the language and what happened.

        :param language: ``C`` or ``C++``.
        :param reason: what was tried and what came of it.
        """
        super().__init__(
            f'expected a working {language} compiler, {reason}; install one (on Debian and '
            'Ubuntu `sudo apt install g++`) or name yours in CC and CXX'
        )
        self.language = language


class DiskError(WorkspaceError):
    """Raise when the disk would not be large enough, before anything is written."""

    def __init__(self, folder: Path, needed: int, free: int, *, training: bool):
        """
        Word what is needed and what is free.

        :param folder: where the space is needed.
        :param needed: bytes.
        :param free: bytes.
        :param training: whether the training packages are a part of it.
        """
        leave_out = ', or leave training out with `make setup WITHOUT_TRAINING=1`'
        super().__init__(
            f'expected {needed / 1e9:.1f} GB free in {folder}, got {free / 1e9:.1f} GB; free some '
            f'space{leave_out if training else ""}, then run it again'
        )
        self.needed = needed
        self.free = free


class DiskFullError(WorkspaceError):
    """Raise when the disk has become full on the way."""

    def __init__(self, folder: Path):
        """
        Word the folder.

        :param folder: on the disk that is full.
        """
        super().__init__(
            f'no space was left on the disk of {folder}; free some, then run it again: what was '
            'done so far stays done'
        )
        self.folder = folder


class NetworkError(WorkspaceError):
    """Raise when pip cannot reach its package registry."""

    def __init__(self, log: Path):
        """
        Word where pip's own words are.

        :param log: file with the whole output.
        """
        super().__init__(
            'the package registry could not be reached; check the network, and the proxy and '
            f'index settings of pip (`pip config list`), then run it again (details: {log})'
        )
        self.log = log


class HashError(WorkspaceError):
    """Raise when a downloaded file is not the one that was tested."""

    def __init__(self, log: Path):
        """
        Word what may have changed it.

        :param log: file with the whole output.
        """
        super().__init__(
            'expected files with the hashes in tools/workspace/requirements.lock, got another '
            'one; a mirror that repacks wheels, a damaged download or tampering may be the cause, '
            f'see the index settings of pip (`pip config list`) and {log}'
        )
        self.log = log


class MissingWheelError(WorkspaceError):
    """Raise when the registry answers, but has not what is wanted."""

    def __init__(self, requirement: str, log: Path):
        """
        Word what is missing.

        :param requirement: as pip calls it.
        :param log: file with the whole output.
        """
        super().__init__(
            f'the package registry has no {requirement} for this Python and machine; check the '
            'index settings of pip (`pip config list`, `env | grep PIP_`), or choose another '
            f'Python with `make setup PYTHON=...` (details: {log})'
        )
        self.requirement = requirement


class BusyError(WorkspaceError):
    """Raise when another setup is at work on this workspace."""

    def __init__(self, root: Path):
        """
        Word the workspace.

        :param root: of the workspace.
        """
        super().__init__(
            f'another setup is at work in {root}; wait until it has ended, then run it again'
        )


class ForeignEnvironmentError(WorkspaceError):
    """Raise rather than delete a virtual environment that somebody else made."""

    def __init__(self, folder: Path):
        """
        Word the folder.

        :param folder: of the virtual environment.
        """
        super().__init__(
            f'{folder} exists and was not made by this setup; move it away, then run it again'
        )


class NoWorkspaceError(WorkspaceError):
    """Raise when `run` finds nothing to run in."""


class CommandError(WorkspaceError):
    """Raise when a command of a step fails in a way that nobody foresaw."""

    def __init__(self, command: str, status: int, log: Path, last_lines: tuple[str, ...] = ()):
        """
        Word the command and the end of its output.

        :param command: its short name.
        :param status: its exit status; negative for a signal.
        :param log: file with the whole output.
        :param last_lines: the end of it.
        """
        quoted = ''.join(f'\n    {line}' for line in last_lines)
        super().__init__(
            f'{command} failed with status {status}; the whole output is in {log}, it ends with:'
            f'{quoted}'
        )
        self.status = status
        self.log = log


class BrokenBuildError(WorkspaceError):
    """Raise when everything was built and yet does not work."""

    def __init__(self, reason: str):
        """
        Word what does not work.

        :param reason: what was seen.
        """
        super().__init__(
            f'the workspace was built but does not work ({reason}); '
            'run `make clean` and then this again'
        )
