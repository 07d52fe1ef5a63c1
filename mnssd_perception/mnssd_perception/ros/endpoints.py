"""Check publishers and subscribers of a topic for reasons why messages do not arrive."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from mnssd_perception.ros.diagnostics import Condition, WARN
from mnssd_perception.ros.parameters import given_overrides, QOS_OVERRIDES
from mnssd_perception.ros.qos import OVERRIDABLE_POLICIES
from mnssd_perception.text import sanitize_text
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import LivelinessPolicy, qos_check_compatible, QoSCompatibility, QoSProfile
from rclpy.topic_endpoint_info import TopicEndpointInfo

MAX_NAMES_CHARS = 120
INFINITE = Duration(nanoseconds=2**63 - 1)  # the largest duration of rclpy


def check_subscription(node: Node, topic: str, subscription: Any) -> list[Condition]:
    """Check the publishers of a topic that a node subscribes to."""
    message_type = subscription.msg_type
    type_name = f'{message_type.__module__.partition(".")[0]}/msg/{message_type.__name__}'
    publishers = node.get_publishers_info_by_topic(topic)
    name = node.resolve_topic_name(topic)
    return list(check_publishers(name, publishers, type_name, subscription.qos_profile))


def check_publisher(node: Node, topic: str, publisher: Any) -> list[Condition]:
    """Check the other endpoints of a topic that a node publishes."""
    name = node.resolve_topic_name(topic)
    subscribers = node.get_subscriptions_info_by_topic(topic)
    return [
        *check_sole_publisher(name, node.get_publishers_info_by_topic(topic)),
        *check_subscribers(name, subscribers, publisher.qos_profile),
    ]


def check_overrides(node: Node, overridable: Iterable[tuple[str, str]]) -> Iterator[Condition]:
    """
    Find QoS overrides without effect, which are most likely misspelled.

    :param overridable: pairs such as ``('image', 'subscription')``, of this node and of others
        that share its parameters.
    """
    supported = [
        f'{QOS_OVERRIDES}{node.resolve_topic_name(topic)}.{endpoint}.{policy.name.lower()}'
        for topic, endpoint in overridable
        for policy in OVERRIDABLE_POLICIES
    ]
    for name in given_overrides(node):
        is_override = name.startswith(QOS_OVERRIDES)
        if not is_override or name in supported or node.has_parameter(name):
            continue
        similar = get_close_matches(name, supported, n=1)
        hint = f"; did you mean '{similar[0]}'?" if similar else ''
        message = f"'{sanitize_text(name, MAX_NAMES_CHARS)}' has no effect{hint}"
        yield Condition(f'override {name}', WARN, message)


def check_publishers(
    topic: str, publishers: Sequence[TopicEndpointInfo], message_type: str, profile: QoSProfile
) -> Iterator[Condition]:
    """Check publishers for those that a subscription to this type cannot receive from."""
    other_types = [info for info in publishers if info.topic_type != message_type]
    if other_types:
        wrong_type = other_types[0].topic_type
        message = (
            f'expected {message_type} on {topic}, got {sanitize_text(wrong_type)} '
            f'from {_names(other_types)}'
        )
        if wrong_type == 'sensor_msgs/msg/CompressedImage':
            message += '; decompress with "ros2 run image_transport republish"'
        yield Condition(f'type of {topic}', WARN, message)
    matching = [info for info in publishers if info.topic_type == message_type]
    yield from _check_qos(topic, matching, profile, is_publisher=False)
    yield from check_sole_publisher(topic, matching)


def check_subscribers(
    topic: str, subscribers: Sequence[TopicEndpointInfo], profile: QoSProfile
) -> Iterator[Condition]:
    """Check the subscribers for those that a publisher with this profile cannot serve."""
    yield from _check_qos(topic, subscribers, profile, is_publisher=True)


def _check_qos(
    topic: str, endpoints: Sequence[TopicEndpointInfo], profile: QoSProfile, *, is_publisher: bool
) -> Iterator[Condition]:
    """Check that the profile of our publisher or subscription suits the other endpoints."""
    incompatible = []
    for info in endpoints:
        pair = (profile, info.qos_profile) if is_publisher else (info.qos_profile, profile)
        # Policies that are not discovered yet count as compatible.
        if qos_check_compatible(*map(_explicit, pair))[0] == QoSCompatibility.ERROR:
            incompatible.append(info)
    if incompatible:
        theirs, ours = ('requests', 'offered') if is_publisher else ('offers', 'requested')
        message = (
            f'incompatible QoS on {topic}: {_names(incompatible)} {theirs} '
            f'{_policies(incompatible[0].qos_profile)}, {ours} is {_policies(profile)}; '
            'see the parameters qos_overrides'
        )
        yield Condition(f'qos of {topic}', WARN, message)


def check_sole_publisher(
    topic: str, publishers: Sequence[TopicEndpointInfo]
) -> Iterator[Condition]:
    """Check that a topic has one publisher at most."""
    if len(publishers) > 1:
        message = (
            f'expected one publisher on {topic}, got {len(publishers)}: {_names(publishers)}; '
            'remap the topic or use a namespace'
        )
        yield Condition(f'publishers of {topic}', WARN, message)


def _explicit(profile: QoSProfile) -> QoSProfile:
    """Replace the defaults of the middleware with the values that other endpoints report."""
    lease = profile.liveliness_lease_duration
    return QoSProfile(
        depth=1,
        reliability=profile.reliability,
        durability=profile.durability,
        deadline=profile.deadline if profile.deadline.nanoseconds else INFINITE,
        liveliness=profile.liveliness or LivelinessPolicy.AUTOMATIC,
        liveliness_lease_duration=lease if lease.nanoseconds else INFINITE,
    )


def _names(endpoints: Sequence[TopicEndpointInfo]) -> str:
    names = [
        'an unnamed node'  # of another middleware, or not discovered yet
        if info.node_name == '_NODE_NAME_UNKNOWN_'
        else f'{info.node_namespace.rstrip("/")}/{info.node_name}'
        for info in endpoints
    ]
    return sanitize_text(' and '.join(sorted(names)), MAX_NAMES_CHARS)


def _policies(profile: QoSProfile) -> str:
    return f'{profile.reliability.name}, {profile.durability.name}'.lower()
