"""QoS profiles of the topics, each with its reason."""

from collections.abc import Callable
from typing import Any

from mnssd_perception.errors import SettingsError
from mnssd_perception.ros.parameters import given_overrides, QOS_OVERRIDES
from mnssd_perception.text import sanitize_text
from rclpy.exceptions import ParameterException
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

# History, depth and reliability, by the parameters
# qos_overrides.<topic>.<publisher|subscription>.<policy>.
OVERRIDABLE_POLICIES = QoSOverridingOptions.with_default_policies().policy_kinds


# Functions, because rclpy writes the overrides of users into the profile that it is given.


def image_in() -> QoSProfile:
    """
    Make the profile of image subscriptions: the newest frame, without a queue.

    Best effort connects with every publisher, as reliable does with every subscriber (REP 2003).
    """
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def image_out() -> QoSProfile:
    """Make the profile of image publishers, without a queue of large messages."""
    return QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)


def detections() -> QoSProfile:
    """Make the profile of detections and status messages, at both ends: lose nothing small."""
    return QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)


def latched() -> QoSProfile:
    """Make the profile of labels, at both ends: late subscribers get the last message."""
    return QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def create_overridable(
    create: Callable[..., Any], message_type: type, topic: str, *arguments: Any
) -> Any:
    """
    Create a publisher or subscription whose QoS users can override by parameter.

    :param create: a method of a node, such as ``node.create_publisher``.
    :raises SettingsError: when an override is invalid.
    """
    node = create.__self__  # type: ignore[attr-defined]
    options = QoSOverridingOptions.with_default_policies()
    try:
        return create(message_type, topic, *arguments, qos_overriding_options=options)
    except (AssertionError, ParameterException, RuntimeError, TypeError, ValueError) as error:
        endpoint = 'subscription' if 'subscription' in create.__name__ else 'publisher'
        prefix = f'{QOS_OVERRIDES}{node.resolve_topic_name(topic)}.{endpoint}.'
        overrides = [
            f'{name}:={sanitize_text(parameter.value)}'
            for name, parameter in given_overrides(node).items()
            if name.startswith(prefix)
        ]
        if not overrides:
            raise
        raise SettingsError(
            f'expected a valid QoS override, got {", ".join(overrides)}: {sanitize_text(error)}'
        ) from error
