"""Run nodes as child processes that never outlive their parent."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
import ctypes
import os
from pathlib import Path
import signal
import subprocess
import sys
from textwrap import indent
from types import MappingProxyType

PR_SET_PDEATHSIG = 1  # from Linux's prctl.h

# Signals that end a process, and how long each is given [s].
END_TIMEOUTS = ((signal.SIGINT, 8.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0))


class ChildNode:
    """
    A node in its own process and session, which a Ctrl-C in the terminal does not reach.

    :param name: of the module in ``mnssd_perception.nodes``.
    :param log: file for stderr, and for stdout where that is not shown.
    :param shows_stdout: whether stdout is that of the parent.
    :param remappings: of topics, old to new.
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
            command += ['-p', f'{key}:={_to_yaml(value)}']
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
                preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 (the parent has no threads)
            )

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while the process runs."""
        return self._process.poll()

    def send_signal(self, number: signal.Signals = signal.SIGINT) -> None:
        """Send a signal to the process and its children."""
        if self.exit_code is None:
            # It may end by itself at this moment.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def end(self) -> None:
        """End the process, by SIGINT first."""
        for number, timeout in END_TIMEOUTS:
            self.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
                return

    def read_log(self) -> str:
        """Return the last lines of the log, indented."""
        lines = self.log.read_text(errors='replace').rstrip().splitlines()
        return indent('\n'.join(lines[-12:]), '    ')


class ChildNodes(ExitStack):
    """The nodes of a ``with`` statement, which ends them in reverse order of their start."""

    def __init__(self) -> None:
        super().__init__()
        self._nodes: list[ChildNode] = []

    def add(self, node: ChildNode) -> ChildNode:
        """Add a node, to end it with the others."""
        self._nodes.append(node)
        self.callback(node.end)
        return node

    def find_failed(self) -> ChildNode | None:
        """Return a node that has ended with another exit code than 0, or None."""
        return next((node for node in self._nodes if node.exit_code not in (None, 0)), None)


def _die_with(parent: int) -> Callable[[], None]:
    """Make a function for the start of a child that ends it with its parent."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == 'linux' else None

    def set_death_signal() -> None:
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it has died in the meantime
                os._exit(1)

    return set_death_signal


def _to_yaml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = value.replace("'", "''")
        return f"'{escaped}'"
    return repr(value)
