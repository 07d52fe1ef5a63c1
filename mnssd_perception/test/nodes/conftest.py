"""A part of a real ROS graph for each test."""

from collections.abc import Callable, Iterator
from itertools import count
import os
from pathlib import Path
import subprocess
import sys
import time

import pytest

# Longer than a busy machine takes [s].
PATIENCE = 100.0

_numbers = count()


class Graph:
    """
    Nodes under a namespace of their own, served by the thread of the test while it waits.

    :param context: of the DDS domain.
    """

    def __init__(self, context: object) -> None:
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node
        from rclpy.task import Future

        self.context = context
        self.namespace = f'/test_{os.getpid()}_{next(_numbers)}'
        self.executor = SingleThreadedExecutor(context=context)
        self.done = Future(executor=self.executor)
        self.node = Node('tester', namespace=self.namespace, context=context)
        self._nodes = [self.node]
        self.executor.add_node(self.node)

    def start(self, kind: Callable, *, sink: object = None, **parameters: object) -> object:
        """Start a node in this process."""
        from rclpy.parameter import Parameter

        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        given = {} if sink is None else {'sink': sink}
        node = kind(
            self.done,
            context=self.context,
            namespace=self.namespace,
            parameter_overrides=overrides,
            **given,
        )
        self._nodes.append(node)
        self.executor.add_node(node)
        return node

    def wait(self, condition: Callable[[], object], timeout: float = PATIENCE) -> object:
        """Serve the nodes until a condition holds; return what it returned."""
        end = time.monotonic() + timeout
        while not (result := condition()):
            assert time.monotonic() < end, 'the condition did not come true in time'
            self.executor.spin_once(timeout_sec=0.02)
        return result

    def listen(self, kind: type, topic: str, profile: object = 10) -> list:
        """Collect the messages of a topic."""
        inbox: list = []
        self.node.create_subscription(kind, topic, inbox.append, profile)
        return inbox

    def publisher(self, kind: type, topic: str, profile: object = 10) -> object:
        """Make a publisher and wait until it is heard."""
        publisher = self.node.create_publisher(kind, topic, profile)
        self.wait(publisher.get_subscription_count)
        return publisher

    def call(self, kind: type, service: str, request: object) -> object:
        """Call a service."""
        client = self.node.create_client(kind, service)
        self.wait(client.service_is_ready)
        future = client.call_async(request)
        self.wait(future.done)
        self.node.destroy_client(client)
        return future.result()

    def close(self) -> None:
        """Destroy the nodes."""
        for node in reversed(self._nodes):
            node.destroy_node()
        self.executor.shutdown(timeout_sec=1.0)


@pytest.fixture(scope='module')
def context(request: pytest.FixtureRequest) -> Iterator[object]:
    """Join the DDS domain of the test file, its DOMAIN."""
    rclpy = pytest.importorskip('rclpy')
    made = rclpy.Context()
    rclpy.init(args=[], context=made, domain_id=request.module.DOMAIN)
    yield made
    rclpy.shutdown(context=made)


@pytest.fixture
def graph(context: object) -> Iterator[Graph]:
    """Give the test its part of the graph."""
    made = Graph(context)
    yield made
    made.close()


@pytest.fixture
def process(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable]:
    """Start an executable, or a script that starts one, in the domain of the test file."""
    started = []

    def start(module: str, *arguments: str, script: str = '') -> subprocess.Popen:
        environment = {
            **os.environ,
            'PYTHONPATH': os.pathsep.join(filter(None, sys.path)),
            'ROS_DOMAIN_ID': str(request.module.DOMAIN),
            'ROS_LOG_DIR': str(tmp_path),
            'RCUTILS_LOGGING_BUFFERED_STREAM': '0',
        }
        program = ['-c', script] if script else ['-m', f'mnssd_perception.nodes.{module}']
        command = [sys.executable, *program, '--ros-args']
        started.append(
            subprocess.Popen(
                [*command, *arguments],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return started[-1]

    yield start
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()


@pytest.fixture(scope='session')
def clip() -> list[Path]:
    """List the thermal images that are shipped."""
    import mnssd_perception

    return sorted(Path(mnssd_perception.__file__).parent.glob('assets/clips/hit_uav/*.jpg'))
