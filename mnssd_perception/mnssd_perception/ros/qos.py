"""The qualities of service of the topics, each with its reason."""

from collections.abc import Callable

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    qos_policy_name_from_kind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

__all__ = [
    'detections',
    'image_in',
    'image_out',
    'latched',
    'overridable',
    'publisher_events',
    'subscription_events',
]


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


def publisher_events(tell: Callable[[str], None], topic: str) -> PublisherEventCallbacks:
    """
    Notice subscribers that a publisher cannot serve.

    :param tell: is called with a sentence, in the executor.
    :param topic: of the publisher.
    :return: callbacks for ``create_publisher``.
    """
    return PublisherEventCallbacks(
        incompatible_qos=lambda event: tell(
            f'a subscriber of {topic} gets nothing: it asks for another '
            f'{_policy(event)} than is offered'
        )
    )


def subscription_events(tell: Callable[[str], None], topic: str) -> SubscriptionEventCallbacks:
    """
    Notice publishers that a subscription cannot hear.

    :param tell: is called with a sentence, in the executor.
    :param topic: of the subscription.
    :return: callbacks for ``create_subscription``.
    """
    return SubscriptionEventCallbacks(
        incompatible_qos=lambda event: tell(
            f'a publisher of {topic} is not heard: it offers another '
            f'{_policy(event)} than is asked for'
        )
    )


def _policy(event: object) -> str:
    """Name the policy that an event is about."""
    return qos_policy_name_from_kind(event.last_policy_kind).lower()  # type: ignore[attr-defined]
