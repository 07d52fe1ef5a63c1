"""Find out from the publishers and subscribers of a topic why messages do not arrive."""

from collections.abc import Iterator, Sequence

from mnssd_perception.ros.diagnostics import Condition, WARN
from mnssd_perception.text import sanitize_text
from rclpy.duration import Duration
from rclpy.qos import LivelinessPolicy, qos_check_compatible, QoSCompatibility, QoSProfile
from rclpy.topic_endpoint_info import TopicEndpointInfo

__all__ = ['check_publishers', 'check_sole_publisher', 'check_subscribers']

# The largest duration of rclpy.
INFINITE = Duration(nanoseconds=2**63 - 1)

HINTS = {
    'sensor_msgs/msg/CompressedImage': ', for example by "ros2 run image_transport republish"'
}


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
            f'expected {message_type} on {topic}, got {wrong} of {_names(others)}; '
            f'publish {message_type}{HINTS.get(wrong, "")}'
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
    names = [f'{info.node_namespace.rstrip("/")}/{info.node_name}' for info in endpoints]
    return sanitize_text(' and '.join(sorted(names)))


def _policies(profile: QoSProfile) -> str:
    """Say the policies that decide who hears whom."""
    return f'{profile.reliability.name}, {profile.durability.name}'.lower()
