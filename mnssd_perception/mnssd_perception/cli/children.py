"""Nodes as child processes that never outlive their parent."""

from collections.abc import Callable, Mapping
from contextlib import suppress
import ctypes
import os
from pathlib import Path
import signal
import subprocess
import sys
from types import MappingProxyType, TracebackType

# From Linux's prctl.h.
PR_SET_PDEATHSIG = 1

# Time to end after each stronger request [s].
PATIENCE = ((signal.SIGINT, 8.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0))


class Child:
    """
    A node in a process and session of its own, which a Ctrl-C in the terminal does not reach.

    :param name: of the module in ``mnssd_perception.nodes``.
    :param parameters: of the node.
    :param environ: of the process.
    :param log: takes what it says on stderr, and on stdout where that is not shown.
    :param shows_stdout: whether its stdout is the one of the parent.
    :param remappings: of names of the node, old to new.
    """

    def __init__(
        self,
        name: str,
        parameters: Mapping[str, object],
        environ: Mapping[str, str],
        log: Path,
        *,
        shows_stdout: bool = False,
        remappings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.name, self.log = name, log
        command = [sys.executable, '-m', f'mnssd_perception.nodes.{name}', '--ros-args']
        for key, value in parameters.items():
            command += ['-p', f'{key}:={_yaml(value)}']
        for old, new in remappings.items():
            command += ['-r', f'{old}:={new}']
        with log.open('wb') as file:
            self._process = subprocess.Popen(
                command,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=None if shows_stdout else file,
                stderr=file,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 (no threads here)
            )

    @property
    def code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll()

    def ask_to_end(self, number: signal.Signals = signal.SIGINT) -> None:
        """
        Send a signal to the process and what it has started.

        :param number: of the signal.
        """
        if self.code is None:
            # It may end by itself at this moment.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def end(self) -> None:
        """Make it end, kindly at first."""
        for number, patience in PATIENCE:
            self.ask_to_end(number)
            try:
                self._process.wait(patience)
                return
            except subprocess.TimeoutExpired:
                continue

    def last_words(self, num_lines: int = 12) -> str:
        """
        Read the end of its log.

        :param num_lines: how much of it.
        :return: the lines.
        """
        lines = self.log.read_text(errors='replace').rstrip().splitlines()
        return '\n'.join(f'    {line}' for line in lines[-num_lines:])


class Children:
    """The child processes of a ``with`` statement, which ends them in the order of their start."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    def add(self, child: Child) -> Child:
        """
        Take charge of a child.

        :param child: the child.
        :return: the same.
        """
        self._children.append(child)
        return child

    def failed(self) -> Child | None:
        """
        Find a child that has failed.

        :return: one that has ended with another code than 0, or None.
        """
        return next((child for child in self._children if child.code not in (None, 0)), None)

    def __enter__(self) -> 'Children':
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End them, the youngest first: a camera before its detector."""
        for child in reversed(self._children):
            child.end()


def _die_with(parent: int) -> Callable[[], None]:
    """Make what a child does first: tie its life to that of its parent."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == 'linux' else None

    def tie() -> None:
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it has died in the meantime
                os._exit(1)

    return tie


def _yaml(value: object) -> str:
    """Write a parameter's value so that ROS reads the same type."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = value.replace("'", "''")
        return f"'{escaped}'"
    return repr(value)
