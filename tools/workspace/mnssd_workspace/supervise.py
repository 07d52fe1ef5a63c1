"""
Run a command that ends with the process that started it, however that ends.

This script takes the command as its arguments and a pipe as its standard input. When the other end
of the pipe is closed (by SIGKILL, for example), it kills the command's process group. The lock of
the workspace, which it inherits, is released after that.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time


def main() -> int:
    """Run the command; return its exit status as a shell does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller handles Ctrl-C
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)

    def kill_when_closed() -> None:
        os.read(0, 1)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)

    threading.Thread(target=kill_when_closed, daemon=True).start()
    status = command.wait()
    # The group exists until its last process is reaped, which nobody does in some containers.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        for _ in range(100):
            os.killpg(command.pid, signal.SIGKILL)
            time.sleep(0.01)
    return status if status >= 0 else 128 - status


if __name__ == '__main__':
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f'{sys.argv[1:2]}: {error}')
