"""A namespace of a real ROS graph for each test."""

from collections.abc import Callable, Iterator
from itertools import count
import os
from pathlib import Path
import time
from typing import Any

import cv2
from mnssd_perception.bundle import Bundle, open_bundle
from mnssd_perception.detector import Detector
from mnssd_perception.engines import Engine, open_engine
from mnssd_perception.ssd import Detections
import numpy as np
from numpy.typing import NDArray
import pytest

# Longer than a busy machine takes [s].
PATIENCE = 100.0

_numbers = count()


class Graph:
    """
    Nodes in their own namespace, spun by the thread of the test while it waits.

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

    def start(self, node_type: Callable, *, sink: object = None, **parameters: object) -> Any:
        """Start a node in this process."""
        from rclpy.parameter import Parameter

        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        options = {} if sink is None else {'sink': sink}
        node = node_type(
            self.done,
            context=self.context,
            namespace=self.namespace,
            parameter_overrides=overrides,
            **options,
        )
        self._nodes.append(node)
        self.executor.add_node(node)
        return node

    def wait(self, condition: Callable[[], object], timeout: float = PATIENCE) -> Any:
        """Spin the nodes until a condition holds, and return its value."""
        end = time.monotonic() + timeout
        while not (result := condition()):
            assert time.monotonic() < end, 'the condition did not come true in time'
            self.executor.spin_once(timeout_sec=0.02)
        return result

    def listen(self, message_type: type, topic: str, profile: object = 10) -> list:
        """Collect the messages of a topic."""
        inbox: list = []
        self.node.create_subscription(message_type, topic, inbox.append, profile)
        return inbox

    def publisher(self, message_type: type, topic: str, profile: object = 10) -> Any:
        """Create a publisher and wait until it has a subscriber."""
        publisher = self.node.create_publisher(message_type, topic, profile)
        self.wait(publisher.get_subscription_count)
        return publisher

    def call(self, service_type: type, service: str, request: object) -> Any:
        """Call a service."""
        client = self.node.create_client(service_type, service)
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
def graph(context: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Graph]:
    """Provide the namespace of the test."""
    # A busy machine takes longer from one frame to the next than a camera.
    monkeypatch.setattr('mnssd_perception.nodes.detector_report.STALLED_AFTER', PATIENCE)
    made = Graph(context)
    yield made
    made.close()


class DetectorHarness:
    """A detector with its output and a camera that publishes images to it."""

    def __init__(self, graph: Graph, **parameters: object) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from mnssd_msgs.msg import DetectorStatus
        from mnssd_perception.nodes.detector_node import DetectorNode
        from mnssd_perception.ros import qos
        from sensor_msgs.msg import Image
        from vision_msgs.msg import Detection2DArray

        defaults = {
            'warmup': 0,
            'threads': 1,
            'diagnostics_period': 0.1,
            'engine_timeout': PATIENCE,
        }
        parameters = {**defaults, **parameters}
        self.graph = graph
        self.detections = graph.listen(Detection2DArray, 'detections', qos.detections())
        self.statuses = graph.listen(DetectorStatus, 'detector/status', qos.detections())
        self.reports = graph.listen(DiagnosticArray, '/diagnostics')
        self.node = graph.start(DetectorNode, **parameters)
        graph.wait(lambda: graph.node.count_publishers('detector/status'))
        if parameters.get('autostart', True):
            self.camera = graph.publisher(Image, 'image', qos.image_out())
            graph.wait(lambda: self.statuses)

    @property
    def engine(self) -> Engine:
        """The engine that runs at present."""
        return self.node._detector.engine._engine

    def publish(self, msg: object) -> None:
        """Publish an image."""
        self.camera.publish(msg)

    def detect(self, image: Any, **header: object) -> Any:
        """Publish an RGB image and wait for its detections."""
        from mnssd_perception.ros.images import from_array
        from std_msgs.msg import Header

        num = len(self.detections)
        self.publish(from_array(image, 'rgb8', Header(**header)))
        self.graph.wait(lambda: len(self.detections) > num)
        return self.detections[-1]

    def status(self, condition: Callable) -> Any:
        """Wait for a status that meets a condition."""
        return self.graph.wait(
            lambda: next((msg for msg in reversed(self.statuses) if condition(msg)), None)
        )

    def set(self, name: str, value: object) -> Any:
        """Set a parameter as ``ros2 param set`` does."""
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        (result,) = self.graph.call(SetParameters, 'detector/set_parameters', request).results
        return result

    def report(self, condition: Callable) -> Any:
        """Wait for a report of this detector that meets a condition."""
        name = f'{self.graph.namespace[1:]}/detector: status'
        return self.graph.wait(
            lambda: next(
                (
                    status
                    for msg in reversed(self.reports)
                    for status in msg.status
                    if status.name == name and condition(status)
                ),
                None,
            )
        )

    def next_report(self) -> Any:
        """Return a report that is made after this call."""
        num = len(self.reports)
        self.graph.wait(lambda: len(self.reports) > num + 1)
        return self.report(lambda status: True)

    def change(self, transition: int) -> bool:
        """Request a transition and return whether it succeeded."""
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState

        request = ChangeState.Request(transition=Transition(id=transition))
        return self.graph.call(ChangeState, 'detector/change_state', request).success

    def state(self) -> str:
        """Return the lifecycle state."""
        from lifecycle_msgs.srv import GetState

        answer = self.graph.call(GetState, 'detector/get_state', GetState.Request())
        return answer.current_state.label


@pytest.fixture
def start_detector(graph: Graph, fp32_bundle: Path) -> Callable[..., DetectorHarness]:
    """Start a detector with some parameters; without a bundle, it runs :func:`fp32_bundle`."""

    def start(bundle: object = str(fp32_bundle), **parameters: object) -> DetectorHarness:
        return DetectorHarness(graph, bundle=bundle, **parameters)

    return start


@pytest.fixture
def harness(start_detector: Callable[..., DetectorHarness]) -> DetectorHarness:
    """Start a detector of float32 in ONNX Runtime."""
    return start_detector()


@pytest.fixture(scope='session')
def bundle(fp32_bundle: Path) -> Bundle:
    """Open the model that :func:`harness` runs."""
    return open_bundle(fp32_bundle)


@pytest.fixture(scope='session')
def sample(bundle: Bundle, clip: list[Path]) -> tuple[NDArray[np.uint8], Detections]:
    """Select an image with low and high scores: RGB pixels and detections."""
    engine = open_engine(bundle)
    detector = Detector(engine, bundle.manifest.thresholds)
    for path in clip:
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        detections = detector.detect(image)
        scores = detections.scores
        if len(detections) and scores.min() < 0.55 and scores.max() > 0.65:
            engine.close()
            return image, detections
    return pytest.fail('no image of the clip has such detections')


@pytest.fixture(scope='session')
def clip() -> list[Path]:
    """List the thermal images that are shipped."""
    import mnssd_perception

    return sorted(Path(mnssd_perception.__file__).parent.glob('assets/clips/hit_uav/*.jpg'))
