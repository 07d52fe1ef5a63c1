"""Tests of the QoS profiles."""
# ruff: noqa: E402 (ROS is imported only where it is installed)

from types import MethodType

from mnssd_perception.errors import SettingsError
import pytest

rclpy = pytest.importorskip('rclpy')

from mnssd_perception.ros import qos
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image

pytestmark = pytest.mark.ros

DOMAIN = 69
PREFIX = 'qos_overrides./front/image.subscription'


@pytest.fixture
def make():
    """Make a node that was started with some parameters."""
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=DOMAIN)
    nodes = []

    def make(given):
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        nodes.append(
            rclpy.create_node(
                'tested', namespace='/front', context=context, parameter_overrides=overrides
            )
        )
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


def subscribe(node):
    return qos.create_overridable(
        node.create_subscription, Image, 'image', lambda _: None, qos.image_in()
    )


def test_subscription_without_overrides_has_the_profile(make):
    assert subscribe(make({})).qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT


def test_override_takes_effect(make):
    made = subscribe(make({f'{PREFIX}.reliability': 'reliable', f'{PREFIX}.depth': 7}))
    assert made.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    assert made.qos_profile.depth == 7


@pytest.mark.parametrize(
    ('policy', 'value', 'shown'),
    [
        ('reliability', 'foo', 'foo'),
        ('reliability', 'a\n\x1b[31m', r'a\n\x1b[31m'),
        ('history', 'foo', 'foo'),
        ('depth', -5, '-5'),
        ('depth', 'foo', 'foo'),
    ],
)
def test_invalid_override_is_refused_by_name_each_time(make, policy, value, shown):
    node = make({f'{PREFIX}.{policy}': value})
    for _ in range(2):
        with pytest.raises(SettingsError) as raised:
            subscribe(node)
        assert f'{PREFIX}.{policy}:={shown}' in str(raised.value)
        assert str(raised.value).isprintable()


def test_another_error_is_not_blamed_on_an_override(make, monkeypatch):
    node = make({'qos_overrides./front/image.publisher.depth': 7})

    def create_subscription(*_, **__):
        raise RuntimeError('no memory')

    monkeypatch.setattr(node, 'create_subscription', MethodType(create_subscription, node))
    with pytest.raises(RuntimeError, match='no memory'):
        subscribe(node)
