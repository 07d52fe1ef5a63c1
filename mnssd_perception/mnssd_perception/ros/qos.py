"""The qualities of service of the topics, each with its reason."""

from collections.abc import Iterator
from contextlib import contextmanager

from mnssd_perception.errors import SettingsError
from mnssd_perception.text import sanitize_text
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions


def _keep_last(depth: int, reliability: ReliabilityPolicy) -> QoSProfile:
    """Make a volatile profile."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=reliability,
        durability=DurabilityPolicy.VOLATILE,
    )


# Functions, as rclpy writes the overrides of users into the profile that it is given.


def image_in() -> QoSProfile:
    """
    Want the newest frame and no queue.

    Best effort connects with every publisher, as reliable does with every subscriber (REP 2003).

    :return: the profile of subscribers of raw images.
    """
    return _keep_last(1, ReliabilityPolicy.BEST_EFFORT)


def image_out() -> QoSProfile:
    """
    Offer images to everyone, without a queue of large messages.

    :return: the profile of publishers of raw images.
    """
    return _keep_last(2, ReliabilityPolicy.RELIABLE)


def detections() -> QoSProfile:
    """
    Lose nothing that is small.

    :return: the profile of detections and reports, at both ends.
    """
    return _keep_last(5, ReliabilityPolicy.RELIABLE)


def latched() -> QoSProfile:
    """
    Reach those who come later with what is said once.

    :return: the profile of labels, needed at both ends.
    """
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def overridable() -> QoSOverridingOptions:
    """
    Let users change history, depth and reliability of a topic by parameter.

    The parameters are ``qos_overrides.<topic>.<publisher|subscription>.<policy>``.

    :return: options for ``create_publisher`` and ``create_subscription``.
    """
    return QoSOverridingOptions.with_default_policies()


@contextmanager
def named_overrides(node: Node, topic: str, endpoint: str) -> Iterator[None]:
    """
    Name the parameter when a QoS override is refused by rclpy.

    :param node: creates a publisher or subscription with :func:`overridable` inside the context.
    :param topic: as it is given to the node.
    :param endpoint: ``publisher`` or ``subscription``.
    :raises SettingsError: when an override cannot be used.
    """
    try:
        yield
    except (AssertionError, ParameterException, RuntimeError, TypeError, ValueError) as error:
        prefix = f'qos_overrides.{node.resolve_topic_name(topic)}.{endpoint}.'
        # rclpy has no public way to ask what was given at the start.
        given = [
            f'{name}:={sanitize_text(parameter.value)}'
            for name, parameter in node._parameter_overrides.items()
            if name.startswith(prefix)
        ]
        if not given:
            raise
        raise SettingsError(
            f'expected an override that can be used, got {", ".join(given)}: '
            f'{sanitize_text(error)}'
        ) from error
