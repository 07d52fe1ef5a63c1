"""Tests of the checks of publishers and subscribers of a topic."""
# ruff: noqa: E402 (ROS is imported only where it is installed)

import time

import pytest

rclpy = pytest.importorskip('rclpy')

from mnssd_perception.ros import qos
from mnssd_perception.ros.diagnostics import WARN
from mnssd_perception.ros.endpoints import (
    check_overrides,
    check_publishers,
    check_sole_publisher,
    check_subscribers,
)
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CompressedImage, Image

pytestmark = pytest.mark.ros

DOMAIN = 68
PATIENCE = 20.0  # s

IMAGE = 'sensor_msgs/msg/Image'


@pytest.fixture
def endpoints():
    """Create endpoints of the topic ``image`` and return their information."""
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=DOMAIN)
    nodes = []

    def endpoints(*wanted):
        for name, create, kind, profile in wanted:
            nodes.append(rclpy.create_node(name, namespace='/front', context=context))
            if create == 'publisher':
                nodes[-1].create_publisher(kind, 'image', profile)
            else:
                nodes[-1].create_subscription(kind, 'image', lambda _: None, profile)
        end = time.monotonic() + PATIENCE
        while True:
            publishers = nodes[0].get_publishers_info_by_topic('image')
            subscribers = nodes[0].get_subscriptions_info_by_topic('image')
            if len(publishers) + len(subscribers) == len(wanted):
                return publishers + subscribers
            assert time.monotonic() < end
            time.sleep(0.02)

    yield endpoints
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


def conditions(found):
    """Return the messages by key; all are warnings."""
    found = list(found)
    assert all(condition.level == WARN for condition in found)
    return {condition.key: condition.message for condition in found}


def test_no_endpoints_are_no_problem():
    assert not conditions(check_publishers('/image', [], IMAGE, qos.image_in()))
    assert not conditions(check_subscribers('/image', [], qos.image_out()))
    assert not conditions(check_sole_publisher('/image', []))


def test_compatible_endpoints_are_no_problem(endpoints):
    found = endpoints(('camera', 'publisher', Image, qos.image_out()))
    assert not conditions(check_publishers('/image', found, IMAGE, qos.image_in()))
    assert not conditions(check_subscribers('/image', found, qos.image_out()))
    assert not conditions(check_sole_publisher('/image', found))


def test_incompatible_publisher(endpoints):
    found = endpoints(('camera', 'publisher', Image, qos_profile_sensor_data))
    message = conditions(check_publishers('/image', found, IMAGE, qos.detections()))
    assert list(message) == ['qos of /image']
    for part in ('/front/camera', 'best_effort', 'reliable', 'qos_overrides'):
        assert part in message['qos of /image']


def test_incompatible_subscriber(endpoints):
    found = endpoints(('viewer', 'subscription', Image, qos.latched()))
    message = conditions(check_subscribers('/image', found, qos.image_out()))
    assert list(message) == ['qos of /image']
    for part in ('/front/viewer', 'transient_local', 'volatile'):
        assert part in message['qos of /image']


def test_publisher_of_another_type(endpoints):
    found = endpoints(('camera', 'publisher', CompressedImage, qos.image_out()))
    message = conditions(check_publishers('/image', found, IMAGE, qos.image_in()))
    assert list(message) == ['type of /image']
    for part in ('/front/camera', 'sensor_msgs/msg/CompressedImage', 'republish'):
        assert part in message['type of /image']


def test_several_publishers(endpoints):
    found = endpoints(
        ('left', 'publisher', Image, qos.image_out()),
        ('right', 'publisher', Image, qos.image_out()),
    )
    message = conditions(check_publishers('/image', found, IMAGE, qos.image_in()))
    assert list(message) == ['publishers of /image']
    assert '/front/left and /front/right' in message['publishers of /image']


def test_many_names_are_truncated():
    found = [TopicEndpointInfo(node_name=f'camera_{i}', topic_type=IMAGE) for i in range(1000)]
    message = conditions(check_sole_publisher('/image', found))
    assert 'got 1000' in message['publishers of /image']
    assert len(message['publishers of /image']) < 400


# QoS overrides.


@pytest.fixture
def started_with():
    """Start a node with some parameters, whose images are remapped."""
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=DOMAIN)
    nodes = []

    def started_with(*names):
        nodes.append(
            rclpy.create_node(
                'camera',
                context=context,
                cli_args=['--ros-args', '-r', 'image:=/front/image'],
                parameter_overrides=[Parameter(name, value='reliable') for name in names],
            )
        )
        return nodes[-1]

    yield started_with
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


PREFIX = 'qos_overrides./front/image.subscription.'


def test_no_overrides_are_no_problem(started_with):
    assert conditions(check_overrides(started_with(), [])) == {}
    assert conditions(check_overrides(started_with('rate'), [('image', 'subscription')])) == {}


def test_overrides_of_this_node_and_related_nodes_have_an_effect(started_with):
    names = ['reliability', 'depth', 'history']
    node = started_with(*(PREFIX + name for name in names))
    assert conditions(check_overrides(node, [('image', 'subscription')])) == {}


def test_declared_overrides_have_an_effect(started_with):
    node = started_with(f'{PREFIX}durability')
    node.declare_parameter(f'{PREFIX}durability', 'volatile')
    assert conditions(check_overrides(node, [])) == {}


@pytest.mark.parametrize(
    ('name', 'hint'),
    [
        (
            'qos_overrides./front/imagee.subscription.reliability',
            f"; did you mean '{PREFIX}reliability'?",
        ),
        (f'{PREFIX}reliabilty', f"; did you mean '{PREFIX}reliability'?"),
        (
            'qos_overrides./front/image.publisher.reliability',
            f"; did you mean '{PREFIX}reliability'?",
        ),
        ('qos_overrides.' + 'x' * 40, ''),
    ],
)
def test_override_without_effect_is_reported_with_a_suggestion(started_with, name, hint):
    node = started_with(name, f'{PREFIX}depth')
    found = conditions(check_overrides(node, [('image', 'subscription')]))
    assert found == {f'override {name}': f"'{name}' has no effect{hint}"}
