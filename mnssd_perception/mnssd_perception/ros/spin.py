"""Nodes to a process that starts, runs and ends cleanly."""

from collections.abc import Callable, Sequence
import os
import signal
import sys

from mnssd_perception.errors import MnssdError
from mnssd_perception.ros.memory import keep_freed_blocks
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

__all__ = ['run']


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
    _leave_interrupts_to_rclpy()
    rclpy.init(args=args)
    try:
        _serve(build)
    except ExternalShutdownException:
        pass  # a signal, or rclpy.shutdown() by somebody else: a clean end
    except MnssdError as error:
        rclpy.logging.get_logger('mnssd').fatal(str(error))
        return 1
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
        executor.spin_until_future_complete(done)
        if done.done():
            done.result()  # raises what was set
    finally:
        for node in reversed(nodes):
            node.destroy_node()
        executor.shutdown(timeout_sec=1.0)


def _leave_interrupts_to_rclpy() -> None:
    """
    Keep Python from raising KeyboardInterrupt wherever it happens to be.

    rclpy's own handler wakes the executor, which then ends in one known place. A second Ctrl-C
    ends the process at once, in case something hangs.
    """
    interrupts = 0

    def count(*_: object) -> None:
        nonlocal interrupts
        interrupts += 1
        if interrupts > 1:
            sys.stderr.flush()
            os._exit(128 + signal.SIGINT)

    signal.signal(signal.SIGINT, count)
