"""Publish what is wrong with a node at this moment on /diagnostics."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from mnssd_perception.text import sanitize_text
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR
STALE = DiagnosticStatus.STALE

MAX_MESSAGE_CHARS = 300

LEVEL_NAMES = {WARN: 'WARN', ERROR: 'ERROR', STALE: 'WARN'}


@dataclass(frozen=True)
class Condition:
    """
    Something that is wrong at this moment.

    :ivar key: identifies the condition from one report to the next, whatever its message says.
    :ivar level: WARN, STALE or ERROR.
    :ivar message: one sentence for people, without a full stop.
    """

    key: str
    level: bytes
    message: str


@dataclass(frozen=True)
class Report:
    """
    The health of a node at one moment.

    :ivar summary: the message while nothing is wrong.
    :ivar conditions: everything that is wrong, the most important of each level first.
    :ivar values: figures and facts.
    """

    summary: str
    conditions: tuple[Condition, ...] = ()
    values: Mapping[str, object] = field(default_factory=dict)


class ConditionTracker:
    """
    Remembers how long each condition has held.

    :param clock: gives the time [s]; never goes back.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}

    def update(self, conditions: Iterable[Condition]) -> list[tuple[Condition, float]]:
        """
        Take over the conditions that hold now; all others are cleared.

        :param conditions: of two with the same key, the first counts.
        :return: each condition and how long it has held [s]; errors first, else as given.
        """
        now = self._clock()
        current: dict[str, Condition] = {}
        for condition in conditions:
            current.setdefault(condition.key, condition)
        self._since = {key: self._since.get(key, now) for key in current}
        worst_first = sorted(current.values(), key=lambda condition: condition.level != ERROR)
        return [(condition, now - self._since[condition.key]) for condition in worst_first]


class Diagnostics:
    """
    Publishes a report once a period; replaces diagnostic_updater where that is not installed.

    The level is that of the worst condition, and the message lists all conditions, worst first,
    each with the time for which it has held. Without a condition the level is OK and the message
    is the summary. A condition that begins or ends is also logged, except for STALE ones: a camera
    that is not there yet is no news.

    :param node: owns publisher and timer, and names the status.
    :param period: of the reports [s].
    :param collect: makes a report; is called in the executor.
    :param hardware_id: the camera or computer that is reported on; may be empty, and may be
        changed later.
    :param on_conditions: is called before each report with its conditions as lines of text such
        as ``ERROR: no camera (for 12 s)``, worst first.
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
        self._tracker = ConditionTracker()
        self._logged: dict[str, str] = {}
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Wall time: a stopped simulation clock must not stop the reports.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(period, self.publish, clock=steady)

    def publish(self) -> None:
        """Publish a report now."""
        report = self._collect()
        held = self._tracker.update(report.conditions)
        lines = [
            (condition, f'{_shorten(condition)} (for {seconds:.0f} s)')
            for condition, seconds in held
        ]
        self._log_changes([condition for condition, _ in held])
        self._on_conditions([f'{LEVEL_NAMES[item.level]}: {line}' for item, line in lines])
        status = DiagnosticStatus(
            level=held[0][0].level if held else OK,
            name=f'{self._node.get_fully_qualified_name()[1:]}: status',
            message='; '.join(line for _, line in lines) or sanitize_text(report.summary),
            hardware_id=sanitize_text(self.hardware_id),
            values=[
                KeyValue(key=key, value=sanitize_text(value))
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
        """Log the conditions that have begun or ended since the last report."""
        logger = self._node.get_logger()
        current = {item.key: item for item in conditions if item.level != STALE}
        for key in self._logged.keys() - current.keys():
            logger.info(f'cleared: {self._logged.pop(key)}')
        for key, condition in current.items():
            message = _shorten(condition)
            if key not in self._logged:
                # rclpy forbids one line to log with two severities.
                if condition.level == ERROR:
                    logger.error(message)
                else:
                    logger.warning(message)
            self._logged[key] = message


def _shorten(condition: Condition) -> str:
    """Make a message safe to show; the reason of a failed frame comes from outside."""
    return sanitize_text(condition.message, MAX_MESSAGE_CHARS)
