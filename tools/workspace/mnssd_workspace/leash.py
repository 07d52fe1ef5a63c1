"""
A command to its end, or to the end of whoever holds the leash.

Run as a script, with the command as its arguments and a pipe as its standard input. When the
other end of the pipe is closed, by a kill for example, the command is killed with all that it has
started. Files that this process inherits (the workspace's lock) are closed only after that.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

__all__ = ['main']

_POLL = 0.01
_MAX_POLLS = 100


def main() -> int:
    """Run the command; return its exit status, negative for a signal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the holder's to answer
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)

    def kill_when_let_go() -> None:
        while os.read(0, 1):
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)

    threading.Thread(target=kill_when_let_go, daemon=True).start()
    status = command.wait()
    # Whoever of the command's group is left, is killed. The group exists until all are gone and
    # reaped; where nobody reaps orphans (process 1 of some containers) it would exist for ever.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        for _ in range(_MAX_POLLS):
            os.killpg(command.pid, signal.SIGKILL)
            time.sleep(_POLL)
    return status if status >= 0 else 128 - status


if __name__ == '__main__':
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f'{sys.argv[1:2]}: {error}')
