"""Find out from the publishers and subscribers of a topic why messages do not arrive."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from mnssd_perception.ros import qos
from mnssd_perception.ros.diagnostics import Condition, WARN
from mnssd_perception.ros.parameters import QOS_OVERRIDES
from mnssd_perception.text import sanitize_text
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import LivelinessPolicy, qos_check_compatible, QoSCompatibility, QoSProfile
from rclpy.topic_endpoint_info import TopicEndpointInfo

UNKNOWN = '_NODE_NAME_UNKNOWN_'

MAX_NAMES_CHARS = 120

# The largest duration of rclpy.
INFINITE = Duration(nanoseconds=2**63 - 1)

HINTS = {
    'sensor_msgs/msg/CompressedImage': '; decompress with "ros2 run image_transport republish"'
}


def check_subscription(node: Node, topic: str, subscription: Any) -> list[Condition]:
    """
    Find what is wrong with the publishers of a topic that is subscribed.

    :param node: subscribes.
    :param topic: as it was given to the node.
    :param subscription: to the topic.
    """
    publishers = node.get_publishers_info_by_topic(topic)
    message_type = subscription.msg_type
    type_name = f'{message_type.__module__.partition(".")[0]}/msg/{message_type.__name__}'
    found = check_publishers(
        node.resolve_topic_name(topic), publishers, type_name, subscription.qos_profile
    )
    return list(found)


def check_publisher(node: Node, topic: str, publisher: Any) -> list[Condition]:
    """
    Find what is wrong with the other endpoints of a topic that is published.

    :param node: publishes.
    :param topic: as it was given to the node.
    :param publisher: of the topic.
    """
    name = node.resolve_topic_name(topic)
    subscribers = node.get_subscriptions_info_by_topic(topic)
    return [
        *check_sole_publisher(name, node.get_publishers_info_by_topic(topic)),
        *check_subscribers(name, subscribers, publisher.qos_profile),
    ]


def check_overrides(node: Node, overridable: Iterable[tuple[str, str]]) -> Iterator[Condition]:
    """
    Find QoS overrides that change nothing, most likely as they are misspelt.

    :param node: was started with them.
    :param overridable: what can be overridden in this node and in others that share its
        parameters: topics as they are given to the nodes, each with ``publisher`` or
        ``subscription``.
    """
    # rclpy has no public way to ask what was given at the start.
    given = [name for name in node._parameter_overrides if name.startswith(QOS_OVERRIDES)]
    if not given:
        return
    known = [
        f'{QOS_OVERRIDES}{node.resolve_topic_name(topic)}.{endpoint}.{policy.name.lower()}'
        for topic, endpoint in overridable
        for policy in qos.overridable().policy_kinds
    ]
    for name in given:
        if name in known or node.has_parameter(name):
            continue
        close = get_close_matches(name, known, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ''
        message = f"'{sanitize_text(name, MAX_NAMES_CHARS)}' has no effect{hint}"
        yield Condition(f'override {name}', WARN, message)


def check_publishers(
    topic: str, publishers: Sequence[TopicEndpointInfo], message_type: str, profile: QoSProfile
) -> Iterator[Condition]:
    """
    Find the publishers that a subscription cannot hear, and several that it hears mixed.

    :param topic: of the subscription.
    :param publishers: of the topic, of any type.
    :param message_type: that is subscribed, for example ``sensor_msgs/msg/Image``.
    :param profile: of the subscription.
    """
    others = [info for info in publishers if info.topic_type != message_type]
    if others:
        wrong = others[0].topic_type
        message = (
            f'expected {message_type} on {topic}, got {sanitize_text(wrong)} '
            f'from {_names(others)}{HINTS.get(wrong, "")}'
        )
        yield Condition(f'type of {topic}', WARN, message)
    heard = [info for info in publishers if info.topic_type == message_type]
    mismatches = [info for info in heard if not _is_compatible(info.qos_profile, profile)]
    if mismatches:
        message = (
            f'{_names(mismatches)} is not heard on {topic}: it offers '
            f'{_policies(mismatches[0].qos_profile)}, asked for is {_policies(profile)}; '
            'see the parameters qos_overrides'
        )
        yield Condition(f'qos of {topic}', WARN, message)
    yield from check_sole_publisher(topic, heard)


def check_subscribers(
    topic: str, subscribers: Sequence[TopicEndpointInfo], profile: QoSProfile
) -> Iterator[Condition]:
    """
    Find the subscribers that a publisher cannot serve.

    :param topic: of the publisher.
    :param subscribers: of the topic.
    :param profile: of the publisher.
    """
    mismatches = [info for info in subscribers if not _is_compatible(profile, info.qos_profile)]
    if mismatches:
        message = (
            f'{_names(mismatches)} hears nothing on {topic}: it asks for '
            f'{_policies(mismatches[0].qos_profile)}, offered is {_policies(profile)}; '
            'see the parameters qos_overrides'
        )
        yield Condition(f'qos of {topic}', WARN, message)


def check_sole_publisher(
    topic: str, publishers: Sequence[TopicEndpointInfo]
) -> Iterator[Condition]:
    """
    Find several publishers on a topic that is meant for one.

    :param topic: the topic.
    :param publishers: of the topic.
    """
    if len(publishers) > 1:
        message = (
            f'expected one publisher on {topic}, got {len(publishers)}: {_names(publishers)}; '
            'remap the topic or use a namespace'
        )
        yield Condition(f'publishers of {topic}', WARN, message)


def _is_compatible(offered: QoSProfile, requested: QoSProfile) -> bool:
    """Say whether messages flow; policies that are not known yet count as compatible."""
    verdict, _ = qos_check_compatible(_explicit(offered), _explicit(requested))
    return verdict != QoSCompatibility.ERROR


def _explicit(profile: QoSProfile) -> QoSProfile:
    """Write durations out that were left to the middleware, as other endpoints report them."""
    return QoSProfile(
        depth=1,
        reliability=profile.reliability,
        durability=profile.durability,
        deadline=profile.deadline if profile.deadline.nanoseconds else INFINITE,
        liveliness=profile.liveliness or LivelinessPolicy.AUTOMATIC,
        liveliness_lease_duration=(
            profile.liveliness_lease_duration
            if profile.liveliness_lease_duration.nanoseconds
            else INFINITE
        ),
    )


def _names(endpoints: Sequence[TopicEndpointInfo]) -> str:
    """Name the nodes."""
    names = [
        'a node without a name'  # of another middleware, or not discovered yet
        if info.node_name == UNKNOWN
        else f'{info.node_namespace.rstrip("/")}/{info.node_name}'
        for info in endpoints
    ]
    return sanitize_text(' and '.join(sorted(names)), MAX_NAMES_CHARS)


def _policies(profile: QoSProfile) -> str:
    """Say the policies that decide who hears whom."""
    return f'{profile.reliability.name}, {profile.durability.name}'.lower()
