"""Run the nodes of a process from start to end."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
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
from mnssd_perception.ros.memory import keep_freed_blocks
from mnssd_perception.ros.transport import remove_dead_segments
from mnssd_perception.text import sanitize_text
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

LONGEST_SLEEP = 0.5  # s

# Without a terminal, launch passes on a Ctrl-C that its nodes have had themselves [s].
SAME_CTRL_C = 1.0

# From a signal to the end of the process, whatever hangs; launch sends SIGTERM after 5 s [s].
GRACE = 4.0
WATCH_PERIOD = 0.2

MAX_ERROR_CHARS = 2000

# Of the stack of a thread that hangs, innermost last.
MAX_CALLS = 5

GUARD = 'end'  # name of the thread


def run(
    build: Callable[[Future], Sequence[Node]],
    args: Sequence[str] | None = None,
    grace: float = GRACE,
) -> int:
    """
    Make nodes and serve them until they are done or the process is asked to end.

    SIGINT and SIGTERM end it with 0. So does the future when a node sets its result; an
    exception set there, or a :class:`MnssdError` on the way, is logged and ends it with 1. Where
    a thread hangs, the process ends hard, with 1 and a message that says where.

    :param build: makes the nodes, given the future that ends the process; they are destroyed in
        reverse order.
    :param args: command line, None for that of the process.
    :param grace: longest time from the request to end until the nodes are destroyed [s].
    :return: the exit code.
    """
    keep_freed_blocks()
    remove_dead_segments()
    interrupts = _leave_interrupts_to_rclpy()
    rclpy.init(args=args)
    ended = Event()
    Thread(target=_guard_end, args=(ended, grace), name=GUARD, daemon=True).start()
    try:
        if not interrupts:
            _serve(build)
    except HungError as error:
        _exit_hard(str(error))
    except MnssdError as error:
        _log_fatal(sanitize_text(error, MAX_ERROR_CHARS))
        return 1
    except Exception:
        # After a signal, or rclpy.shutdown() by somebody else, every call into ROS fails in its
        # own way; that is a clean end.
        if rclpy.ok():
            _log_fatal(f'unexpected failure: {traceback.format_exc()}')
            return 1
    finally:
        rclpy.try_shutdown()
        ended.set()
    return 0


def _serve(build: Callable[[Future], Sequence[Node]]) -> None:
    """Make nodes, serve them until they are done, and destroy them in any case."""
    executor = SingleThreadedExecutor()
    done = Future()
    with ExitStack() as stack:
        stack.callback(executor.shutdown, timeout_sec=1.0)
        for node in build(done):
            stack.callback(node.destroy_node)
            executor.add_node(node)
        done.add_done_callback(lambda _: executor.wake())
        # rclpy's signal handler can wake the executor before the context knows of the signal, and
        # an executor without timers would then sleep for ever.
        while rclpy.ok() and not done.done():
            executor.spin_once(timeout_sec=LONGEST_SLEEP)
        # After a signal, what a node stumbled over on the way out is no failure.
        if done.done() and rclpy.ok():
            done.result()  # raises what was set


def _guard_end(ended: Event, grace: float) -> None:
    """
    End the process hard when a signal does not end it in time; the body of a thread.

    The main thread can hang in an engine that loads or warms up a network, where no handler of a
    signal runs. A library that hangs and holds the interpreter's lock stops this thread as well.
    """
    while rclpy.ok():
        if ended.wait(WATCH_PERIOD):
            return
    if not ended.wait(grace):
        _exit_hard(f'expected the process to end within {grace:g} s')


def _exit_hard(reason: str) -> NoReturn:
    """Say what hangs and end the process at once."""
    lines = [f'mnssd: {reason}, but it hangs; its threads are in']
    names = {thread.ident: thread.name for thread in list_threads()}
    for ident, frame in sys._current_frames().items():
        if names.get(ident) == GUARD:
            continue
        calls = traceback.extract_stack(frame)[-MAX_CALLS:]
        places = (f'{call.name} ({Path(call.filename).name}:{call.lineno})' for call in calls)
        lines.append(f'  {names.get(ident, ident)}: {" > ".join(places)}')
    # Not by sys.stderr, whose lock the hanging thread may hold.
    os.write(2, '\n'.join([*lines, '']).encode())
    os._exit(1)


def _log_fatal(message: str) -> None:
    """Log why the process ends."""
    rclpy.logging.get_logger('mnssd').fatal(message)


def _leave_interrupts_to_rclpy() -> list[float]:
    """
    Keep Python from raising KeyboardInterrupt wherever it happens to be.

    rclpy's own handler wakes the executor, which then ends in one known place. A second Ctrl-C,
    some time after the first, ends the process at once, in case something hangs.

    :return: times of the interrupts, also of those that come before rclpy listens.
    """
    interrupts: list[float] = []

    def note(number: int, _: object) -> None:
        interrupts.append(monotonic())
        if interrupts[-1] - interrupts[0] > SAME_CTRL_C:
            sys.stderr.flush()
            os._exit(128 + number)

    signal.signal(signal.SIGINT, note)
    return interrupts
