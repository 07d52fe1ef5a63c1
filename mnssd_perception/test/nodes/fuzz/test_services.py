"""Valid and invalid lifecycle and parameter requests to a detector on a real graph."""

import math
from typing import Any

from fuzzing import fuzz_settings
from hypothesis import given
from hypothesis import strategies as st
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('onnxruntime')

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from mnssd_perception.nodes.detector_node import DetectorNode
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter, parameter_value_to_python

pytestmark = pytest.mark.ros

DOMAIN = 58

# State and transition -> the next state; everything else is refused.
VALID = {
    (State.PRIMARY_STATE_UNCONFIGURED, Transition.TRANSITION_CONFIGURE): (
        State.PRIMARY_STATE_INACTIVE
    ),
    (State.PRIMARY_STATE_INACTIVE, Transition.TRANSITION_CLEANUP): (
        State.PRIMARY_STATE_UNCONFIGURED
    ),
    (State.PRIMARY_STATE_INACTIVE, Transition.TRANSITION_ACTIVATE): State.PRIMARY_STATE_ACTIVE,
    (State.PRIMARY_STATE_ACTIVE, Transition.TRANSITION_DEACTIVATE): State.PRIMARY_STATE_INACTIVE,
}
SHUTDOWNS = (5, 6, 7)  # end the node: left out
DECLARED = (
    'score_threshold', 'iou_threshold', 'max_detections', 'class_filter', 'max_age_ms', 'bundle',
    'engine', 'threads', 'use_sim_time', 'autostart',
)  # fmt: skip
NAMES = (*DECLARED, 'score_treshold', ' ', 'x' * 3000)  # rclpy takes any value for ''
VALUES: tuple[Any, ...] = (
    None, True, 0, 1, -1, 2**63 - 1, -(2**63), 0.0, 0.5, 1.0, -0.5, 1e308, math.nan, math.inf,
    -math.inf, '', 'Car', 'x' * 9000, 'a\n\x1b[31mb', [], ['Car'], ['Car', 'Car'], ['Carr'], [''],
    [1, 2], [0.5], [True], [b'\x00'],
)  # fmt: skip


class Client:
    """A detector, and calls of its services."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        graph.start(DetectorNode, autostart=False, warmup=0, threads=1)

    def call(self, service: Any, name: str, request: Any) -> Any:
        return self._graph.call(service, f'detector/{name}', request)

    def state(self) -> int:
        return self.call(GetState, 'get_state', GetState.Request()).current_state.id

    def change(self, transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.call(ChangeState, 'change_state', request).success

    def get(self, name: str) -> Any:
        request = GetParameters.Request(names=[name])
        values = self.call(GetParameters, 'get_parameters', request).values
        return parameter_value_to_python(values[0]) if values else None

    def set(self, name: str, value: Any) -> bool:
        message = Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[message])
        (result,) = self.call(SetParameters, 'set_parameters', request).results
        assert result.successful or result.reason.isprintable()
        return result.successful


@pytest.fixture
def client(graph: Any) -> Client:
    return Client(graph)


def test_valid_requests_are_accepted(client: Client) -> None:
    for (before, transition), after in VALID.items():
        while client.state() != before:
            client.change(next(step for state, step in VALID if state == client.state()))
        assert client.change(transition)
        assert client.state() == after
    assert client.set('score_threshold', 0.6)
    assert client.set('class_filter', ['Car'])
    assert (client.get('score_threshold'), client.get('class_filter')) == (0.6, ['Car'])


@fuzz_settings()
@given(
    transitions=st.lists(
        st.integers(0, 255).filter(lambda number: number not in SHUTDOWNS)
        | st.sampled_from([transition for _, transition in VALID]),
        max_size=5,
    )
)
def test_invalid_transition_is_refused_and_changes_nothing(
    client: Client, transitions: list[int]
) -> None:
    state = client.state()
    for transition in transitions:
        expected = VALID.get((state, transition))
        assert client.change(transition) == (expected is not None)
        state = state if expected is None else expected
        assert client.state() == state


@fuzz_settings(2)
@given(name=st.sampled_from(NAMES), value=st.sampled_from(VALUES))
def test_parameter_is_set_or_unchanged(client: Client, name: str, value: Any) -> None:
    before = client.get(name)
    accepted = client.set(name, value)
    after = client.get(name)
    assert after == (value if accepted else before)
    if accepted:
        assert name in DECLARED
        assert type(after) is type(before)
        assert not isinstance(after, float) or math.isfinite(after)
        if name in ('score_threshold', 'iou_threshold'):
            assert 0 <= after <= 1
