"""Publish the health of a node on /diagnostics."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from mnssd_perception.text import sanitize_text
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer

OK, WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN
ERROR, STALE = DiagnosticStatus.ERROR, DiagnosticStatus.STALE
MAX_MESSAGE_CHARS = 300  # also of a value
LEVEL_NAMES = {WARN: 'WARN', ERROR: 'ERROR', STALE: 'WARN'}


@dataclass(frozen=True)
class Condition:
    """A current problem."""

    key: str  # identifies it from one report to the next, whatever the message says
    level: bytes  # WARN, STALE or ERROR
    message: str


@dataclass(frozen=True)
class Report:
    """The health of a node at one moment."""

    summary: str  # the message while there is no condition
    conditions: tuple[Condition, ...] = ()  # the most important of each level first
    values: Mapping[str, object] = field(default_factory=dict)


class Diagnostics:
    """
    Publishes a report periodically; replaces diagnostic_updater where that is not installed.

    The level is that of the worst condition, and the message lists all conditions, errors first,
    each with the time for which it has held. Without a condition the level is OK and the message
    is the summary. A condition that begins or ends is also logged, except for STALE ones: a camera
    that has not started yet is not worth a log message.

    :param period: of the reports [s].
    :param on_conditions: is called before each report with its conditions as lines of text such
        as ``ERROR: no camera (for 12 s)``, errors first.
    """

    def __init__(
        self,
        node: Node,
        period: float,
        collect: Callable[[], Report],
        hardware_id: str = '',
        on_conditions: Callable[[list[str]], None] = lambda lines: None,
    ) -> None:
        self._node, self._collect = node, collect
        self.hardware_id = hardware_id
        self._on_conditions = on_conditions
        self._since: dict[str, float] = {}  # start of each condition, by key [s]
        self._logged: dict[str, str] = {}
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._timer = create_steady_timer(node, period, self.publish)

    def publish(self) -> None:
        """Publish a report now; of two conditions with the same key, the first counts."""
        report, now = self._collect(), monotonic()
        by_key: dict[str, Condition] = {}
        for condition in report.conditions:
            by_key.setdefault(condition.key, condition)
        self._since = {key: self._since.get(key, now) for key in by_key}
        conditions = sorted(by_key.values(), key=lambda condition: condition.level != ERROR)
        self._log_changes(conditions)
        levels = [condition.level for condition in conditions]
        messages = [
            f'{_sanitize(condition)} (for {now - self._since[condition.key]:.0f} s)'
            for condition in conditions
        ]
        self._on_conditions(
            [f'{LEVEL_NAMES[level]}: {message}' for level, message in zip(levels, messages)]
        )
        status = DiagnosticStatus(
            level=levels[0] if levels else OK,
            name=f'{self._node.get_fully_qualified_name()[1:]}: status',
            message='; '.join(messages) or sanitize_text(report.summary),
            hardware_id=sanitize_text(self.hardware_id),
            values=[
                KeyValue(key=key, value=sanitize_text(value, MAX_MESSAGE_CHARS))
                for key, value in report.values.items()
            ],
        )
        msg = DiagnosticArray(status=[status])
        msg.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(msg)

    def destroy(self) -> None:
        """Stop reporting."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def _log_changes(self, conditions: Iterable[Condition]) -> None:
        logger = self._node.get_logger()
        current = {item.key: item for item in conditions if item.level != STALE}
        for key in self._logged.keys() - current.keys():
            logger.info(f'cleared: {self._logged.pop(key)}')
        for key, condition in current.items():
            message = _sanitize(condition)
            if key not in self._logged:
                # rclpy forbids one line to log with two severities.
                if condition.level == ERROR:
                    logger.error(message)
                else:
                    logger.warning(message)
            self._logged[key] = message


def create_steady_timer(node: Node, period: float, callback: Callable[[], None]) -> Timer:
    """Create a timer that a stopped simulation clock does not stop; the period is in seconds."""
    return node.create_timer(period, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))


def _sanitize(condition: Condition) -> str:
    """Sanitize a message, which may contain text from another process."""
    return sanitize_text(condition.message, MAX_MESSAGE_CHARS)
