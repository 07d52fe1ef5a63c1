"""Run the nodes of a process from start to end."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
import ctypes
import os
from pathlib import Path
import signal
import sys
from threading import enumerate as list_threads
from threading import Event, Thread
from time import monotonic
import traceback
from typing import NoReturn

from mnssd_perception.errors import HungError, MnssdError
from mnssd_perception.ros.transport import remove_dead_segments
from mnssd_perception.text import sanitize_text
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

# Exit codes. A process that cannot start, for example with an unknown parameter, would fail in the
# same way again: the launch file does not restart it.
FAILED, CANNOT_START = 1, 2

MAX_SLEEP = 0.5  # s

# Without a terminal, launch forwards a Ctrl-C that its nodes have received themselves [s].
SAME_CTRL_C = 1.0

# From a signal to the end of a process that hangs; launch sends SIGTERM after 5 s [s].
SHUTDOWN_TIMEOUT = 4.0
WATCH_PERIOD = 0.2
MAX_ERROR_CHARS = 2000
MAX_CALLS = 8  # innermost calls shown of the stack of a thread that hangs
WATCHDOG = 'shutdown watchdog'  # name of the thread

# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MIB = 2**20


def run(
    build: Callable[[Future], Sequence[Node]],
    args: Sequence[str] | None = None,
    shutdown_timeout: float = SHUTDOWN_TIMEOUT,
) -> int:
    """
    Create nodes and spin them until they are done or the process is asked to end.

    SIGINT and SIGTERM end it with 0. So does the future when a node sets its result; an
    exception set there, or a :class:`MnssdError`, is logged and ends it with 1, or with 2 where
    the nodes cannot be created. Where a thread hangs, the process is killed, with 1 and a message
    that says where.

    :param build: creates the nodes, given the future that ends the process; they are destroyed in
        reverse order.
    :param shutdown_timeout: from the request to end until the nodes are destroyed [s].
    :return: the exit code.
    """
    keep_freed_memory()
    remove_dead_segments()
    interrupts = _leave_interrupts_to_rclpy()
    try:
        rclpy.init(args=args)
    except RuntimeError as error:  # an invalid argument or parameter file
        _log_fatal(sanitize_text(error, MAX_ERROR_CHARS))
        return CANNOT_START
    has_ended, has_started = Event(), Event()
    watchdog = Thread(target=_watch_shutdown, args=(has_ended, shutdown_timeout), name=WATCHDOG)
    watchdog.daemon = True
    watchdog.start()
    try:
        if not interrupts:
            _spin(build, has_started)
    except HungError as error:
        _kill_process(str(error))
    except MnssdError as error:
        _log_fatal(sanitize_text(error, MAX_ERROR_CHARS))
        return FAILED if has_started.is_set() else CANNOT_START
    except Exception:
        # After a signal, or rclpy.shutdown() elsewhere, every call into ROS fails in its own way;
        # that is a clean end.
        if rclpy.ok():
            _log_fatal(f'unexpected failure: {traceback.format_exc()}')
            return FAILED
    finally:
        rclpy.try_shutdown()
        has_ended.set()
    return 0


def _spin(build: Callable[[Future], Sequence[Node]], has_started: Event) -> None:
    executor = SingleThreadedExecutor()
    done = Future()
    with ExitStack() as stack:
        stack.callback(executor.shutdown, timeout_sec=1.0)
        for node in build(done):
            stack.callback(node.destroy_node)
            executor.add_node(node)
        has_started.set()
        done.add_done_callback(lambda _: executor.wake())
        # rclpy's signal handler can wake the executor before the context knows of the signal, and
        # an executor without timers would then sleep for ever.
        while rclpy.ok() and not done.done():
            executor.spin_once(timeout_sec=MAX_SLEEP)
        # After a signal, errors of the shutdown itself do not count.
        if done.done() and rclpy.ok():
            done.result()  # raises the exception that was set


def keep_freed_memory() -> None:
    """
    Tell glibc, where that is the C library, not to return blocks of image size to the kernel.

    By default the buffers of every frame are mapped and unmapped, and the kernel clears each page
    again: half of the time that a raw 720p image takes through rclpy.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        # 32 MiB is the largest value that glibc accepts; larger blocks, of 8K images, stay mapped.
        mallopt(M_MMAP_THRESHOLD, 32 * MIB)
        mallopt(M_TRIM_THRESHOLD, 512 * MIB)


def _watch_shutdown(has_ended: Event, timeout: float) -> None:
    # The main thread can hang in an engine that loads or warms up a network, where Python runs no
    # signal handler. A library that hangs and holds the GIL stops this thread as well.
    while rclpy.ok():
        if has_ended.wait(WATCH_PERIOD):
            return
    if not has_ended.wait(timeout):
        _kill_process(f'expected the process to end within {timeout:g} s')


def _kill_process(reason: str) -> NoReturn:
    lines = [f'mnssd: {reason}, but it hangs; its threads are in']
    names = {thread.ident: thread.name for thread in list_threads()}
    for ident, frame in sys._current_frames().items():
        if names.get(ident) == WATCHDOG:
            continue
        calls = traceback.extract_stack(frame)[-MAX_CALLS:]
        locations = (f'{call.name} ({Path(call.filename).name}:{call.lineno})' for call in calls)
        lines.append(f'  {names.get(ident, ident)}: {" > ".join(locations)}')
    # Not by sys.stderr, whose lock the hanging thread may hold.
    os.write(2, '\n'.join([*lines, '']).encode())
    os._exit(FAILED)


def _log_fatal(message: str) -> None:
    rclpy.logging.get_logger('mnssd').fatal(message)


def _leave_interrupts_to_rclpy() -> list[float]:
    """
    Keep Python from raising KeyboardInterrupt at an arbitrary point; return times of interrupts.

    rclpy's own handler wakes the executor, which then ends in one known place. A second Ctrl-C,
    some time after the first, ends the process at once, in case something hangs.
    """
    interrupts: list[float] = []

    def handle(number: int, _: object) -> None:
        interrupts.append(monotonic())
        if interrupts[-1] - interrupts[0] > SAME_CTRL_C:
            sys.stderr.flush()
            os._exit(128 + number)

    signal.signal(signal.SIGINT, handle)
    return interrupts
