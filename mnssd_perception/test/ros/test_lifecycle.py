"""Tests of a lifecycle node whose transitions fail."""
# ruff: noqa: E402 (ROS is imported only where it is installed)

from mnssd_perception.errors import MnssdError, SettingsError
import pytest

rclpy = pytest.importorskip('rclpy')

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from mnssd_perception.ros.lifecycle import ManagedNode
from rclpy.lifecycle import TransitionCallbackReturn
from std_msgs.msg import String

pytestmark = pytest.mark.ros

DOMAIN = 67

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR

# Every transition that a user may request, from each state; all others are invalid.
VALID = {
    'unconfigured': {1: 'inactive', 5: 'finalized'},
    'inactive': {2: 'unconfigured', 3: 'active', 6: 'finalized'},
    'active': {4: 'inactive', 7: 'finalized'},
    'finalized': {},
}


class FailingNode(ManagedNode):
    """A node that records its steps and fails in some of them."""

    def __init__(self, **options):
        super().__init__('tested', **options)
        self.errors = {}
        self.steps = []
        self.num_requests = 0

    def _step(self, name):
        self.steps.append(name)
        if name in self.errors:
            raise self.errors[name]

    def configure(self):
        self.publisher = self.create_lifecycle_publisher(String, 'words', 1)
        self._step('configure')

    def activate(self):
        self._step('activate')

    def deactivate(self):
        self._step('deactivate')

    def release(self):
        self._step('release')

    def on_transition_requested(self):
        self.num_requests += 1

    def state(self):
        return self._state_machine.current_state[1]

    def bring_to(self, state):
        """Change to a state, and clear the steps."""
        ways = {
            'unconfigured': (),
            'inactive': (self.trigger_configure,),
            'active': (self.trigger_configure, self.trigger_activate),
            'finalized': (self.trigger_shutdown,),
        }
        for trigger in ways[state]:
            assert trigger() == SUCCESS
        assert self.state() == state
        self.steps.clear()

    def request(self, transition, label=''):
        """Answer a request as the executor does; return whether it went well."""
        request = ChangeState.Request(transition=Transition(id=transition, label=label))
        return self._service_change_state.callback(request, ChangeState.Response()).success


@pytest.fixture(scope='module')
def context():
    made = rclpy.Context()
    rclpy.init(args=[], context=made, domain_id=DOMAIN)
    yield made
    rclpy.shutdown(context=made)


@pytest.fixture
def node(context):
    made = FailingNode(context=context)
    yield made
    made.errors = {}
    made.destroy_node()


@pytest.mark.parametrize('state', VALID)
@pytest.mark.parametrize('transition', [*range(11), 99, 255])
def test_every_request_is_answered_and_invalid_ones_change_nothing(node, state, transition):
    node.bring_to(state)
    is_valid = transition in VALID[state]
    assert node.request(transition) == is_valid
    assert node.state() == VALID[state].get(transition, state)
    assert bool(node.steps) == is_valid
    assert node.num_requests == 1


def test_unknown_label_is_refused(node, capfd):
    assert not node.request(0, 'take off\n[FATAL] ')
    assert node.state() == 'unconfigured'
    assert '\n[FATAL] ' not in capfd.readouterr().err


@pytest.mark.parametrize('error', [SettingsError('expected a bundle'), KeyError('oops')], ids=repr)
@pytest.mark.parametrize(
    ('failing', 'start', 'transition', 'end', 'steps'),
    [
        ('configure', 'unconfigured', 1, 'unconfigured', ['configure', 'release']),
        ('activate', 'inactive', 3, 'inactive', ['activate', 'deactivate']),
        ('release', 'inactive', 2, 'finalized', ['release', 'deactivate', 'release']),
        ('deactivate', 'active', 4, 'finalized', ['deactivate', 'deactivate']),
        ('deactivate', 'active', 7, 'finalized', ['deactivate', 'deactivate']),
    ],
)
def test_failing_step_leads_to_a_defined_state(
    node, error, failing, start, transition, end, steps
):
    node.bring_to(start)
    node.errors = {failing: error}
    assert not node.request(transition)
    assert (node.state(), node.steps) == (end, steps)
    assert isinstance(node.transition_error, MnssdError)
    assert str(error) in str(node.transition_error)


def test_unexpected_exception_is_logged_with_its_traceback(node, capfd):
    node.errors = {'configure': KeyError('oops')}
    node.trigger_configure()
    assert 'in _step' in capfd.readouterr().err


def test_failure_while_deactivating_releases_the_node(node):
    node.bring_to('active')
    errors = [KeyError('once')]
    node.deactivate = lambda: errors and (_ for _ in ()).throw(errors.pop())
    assert not node.request(4)
    assert node.state() == 'unconfigured'
    assert 'once' in str(node.transition_error)


def test_failed_undo_is_left_to_error_processing(node):
    node.errors = {'configure': KeyError('oops'), 'release': KeyError('again')}
    assert not node.request(1)
    assert node.state() == 'finalized'
    assert 'oops' in str(node.transition_error)


def test_publishers_are_silent_after_a_failed_activation(node):
    node.bring_to('inactive')
    node.errors = {'activate': KeyError('oops')}
    assert not node.request(3)
    assert not node.publisher.is_activated
    node.errors = {}
    assert node.request(3)
    assert node.publisher.is_activated
    assert node.transition_error is None


def test_start_raises_the_transition_error(node):
    error = SettingsError('expected a camera')
    node.errors = {'activate': error}
    with pytest.raises(SettingsError) as raised:
        node.start()
    assert raised.value is error
    assert node.state() == 'inactive'


def test_start_configures_and_activates(node):
    node.start()
    assert node.state() == 'active'
    assert node.steps == ['configure', 'activate']
