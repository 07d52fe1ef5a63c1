"""A command to the foreground of its terminal, where Ctrl-C reaches it and not its caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
import signal
import subprocess

__all__ = ['run_in_foreground']

_TERMINAL = '/dev/tty'


def run_in_foreground(program: str, words: Sequence[str], env: Mapping[str, str]) -> int:
    """
    Run a command as a shell with job control does.

    `make` ends with an error on Ctrl-C, whatever its command makes of it; a command in a
    foreground process group of its own gets the signal alone, and its status is what counts.

    :param program: path of the program.
    :param words: its name and arguments.
    :param env: its environment variables.
    :return: its exit status.
    """
    try:
        terminal = os.open(_TERMINAL, os.O_RDWR)
    except OSError:
        return subprocess.run(words, executable=program, env=dict(env), check=False).returncode
    ours = os.getpgrp()

    def lead() -> None:
        os.setpgid(0, 0)
        os.tcsetpgrp(terminal, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)

    # Whoever takes the terminal from the background, or back, would otherwise be stopped.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    in_front = os.tcgetpgrp(terminal) == ours
    try:
        return subprocess.run(
            words,
            executable=program,
            env=dict(env),
            preexec_fn=lead if in_front else None,  # safe: this process has one thread
            check=False,
        ).returncode
    finally:
        if in_front:
            os.tcsetpgrp(terminal, ours)
        signal.signal(signal.SIGTTOU, before)
        os.close(terminal)
