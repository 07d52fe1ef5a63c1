"""Facts about a node to /diagnostics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

__all__ = ['Diagnostics', 'ERROR', 'OK', 'Report', 'STALE', 'WARN']

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR
STALE = DiagnosticStatus.STALE


@dataclass(frozen=True)
class Report:
    """
    How a node does.

    :ivar level: one of OK, WARN, ERROR, STALE.
    :ivar message: one sentence for people.
    :ivar values: the facts behind it.
    """

    level: bytes
    message: str
    values: Mapping[str, object] = field(default_factory=dict)


class Diagnostics:
    """
    Publishes a report once a period; replaces diagnostic_updater where that is not installed.

    :param node: owns publisher and timer, and names the status.
    :param period: of the reports [s].
    :param collect: makes a report; is called in the executor.
    :param hardware_id: the camera or computer that is reported on; may be empty.
    """

    def __init__(
        self, node: Node, period: float, collect: Callable[[], Report], hardware_id: str = ''
    ) -> None:
        self._node, self._collect, self._hardware_id = node, collect, hardware_id
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Wall time: a stopped simulation clock must not stop the reports.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(period, self.publish, clock=steady)

    def publish(self) -> None:
        """Publish a report now."""
        report = self._collect()
        status = DiagnosticStatus(
            level=report.level,
            name=f'{self._node.get_fully_qualified_name()[1:]}: status',
            message=report.message,
            hardware_id=self._hardware_id,
            values=[KeyValue(key=key, value=str(value)) for key, value in report.values.items()],
        )
        msg = DiagnosticArray(status=[status])
        msg.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(msg)

    def destroy(self) -> None:
        """Stop reporting."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)
