"""Nodes to a process that starts, runs and ends cleanly."""

from collections.abc import Callable, Sequence
import os
import signal
import sys
from time import monotonic

from mnssd_perception.errors import MnssdError
from mnssd_perception.ros.memory import keep_freed_blocks
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

__all__ = ['run']

LONGEST_SLEEP = 0.5  # s

# Without a terminal, launch passes on a Ctrl-C that its nodes have had themselves [s].
SAME_CTRL_C = 1.0


def run(build: Callable[[Future], Sequence[Node]], args: Sequence[str] | None = None) -> int:
    """
    Make nodes and serve them until they are done or the process is asked to end.

    SIGINT and SIGTERM end it with 0. So does the future when a node sets its result; an
    exception set there, or a :class:`MnssdError` on the way, is logged and ends it with 1.

    :param build: makes the nodes, given the future that ends the process; they are destroyed in
        reverse order.
    :param args: command line, None for that of the process.
    :return: the exit code.
    """
    keep_freed_blocks()
    interrupts = _leave_interrupts_to_rclpy()
    rclpy.init(args=args)
    try:
        if not interrupts:
            _serve(build)
    except MnssdError as error:
        rclpy.logging.get_logger('mnssd').fatal(str(error))
        return 1
    except Exception:
        # After a signal, or rclpy.shutdown() by somebody else, every call into ROS fails in its
        # own way; that is a clean end.
        if rclpy.ok():
            raise
    finally:
        rclpy.try_shutdown()
    return 0


def _serve(build: Callable[[Future], Sequence[Node]]) -> None:
    """Make nodes, serve them until they are done, and destroy them in any case."""
    executor = SingleThreadedExecutor()
    done = Future()
    nodes: Sequence[Node] = ()
    try:
        nodes = build(done)
        for node in nodes:
            executor.add_node(node)
        done.add_done_callback(lambda _: executor.wake())
        # rclpy's signal handler can wake the executor before the context knows of the signal, and
        # an executor without timers would then sleep for ever.
        while rclpy.ok() and not done.done():
            executor.spin_once(timeout_sec=LONGEST_SLEEP)
        # After a signal, what a node stumbled over on the way out is no failure.
        if done.done() and rclpy.ok():
            done.result()  # raises what was set
    finally:
        for node in reversed(nodes):
            node.destroy_node()
        executor.shutdown(timeout_sec=1.0)


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
