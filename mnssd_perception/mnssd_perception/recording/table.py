"""Show detections in the terminal: a table that is redrawn, or lines of a log."""

from itertools import islice
import os
import shutil
from typing import TextIO

from mnssd_perception.latency import LatencyWindow
from mnssd_perception.overlay import class_colour
from mnssd_perception.recording.frame_result import FrameResult

NS = 10**9
MS = 1000
ROWS = 8  # detections shown, the highest scores first
LINE_PERIOD = 0.5  # between two lines of a log [s]


class Table:
    """Redraws the detections of the newest frame in a terminal; appends lines to other streams."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._redraws = stream.isatty() and os.environ.get('TERM', '') not in ('', 'dumb')
        self._has_colours = self._redraws and 'NO_COLOR' not in os.environ
        self._latencies = LatencyWindow()
        self._first_ns: int | None = None
        self._next_line_ns = 0
        self._height = 0

    def show(self, result: FrameResult) -> None:
        """Show a frame."""
        if self._first_ns is None:
            self._first_ns = result.stamp_ns
        if result.latency is not None:
            self._latencies.add(result.latency)
        if self._redraws:
            self._redraw(self._format_table(result))
        elif result.stamp_ns >= self._next_line_ns:
            self._next_line_ns = result.stamp_ns + int(LINE_PERIOD * NS)
            self._stream.write(
                f'{self._seconds(result):7.2f} s  frame {result.index:4d}  '
                f'{_format_latency(result)}  {result.summary()}\n'
            )
            self._stream.flush()

    def latency_summary(self) -> str:
        """Format the median and 95th percentile latency of the last frames."""
        if not len(self._latencies):
            return 'latency unknown: the camera uses another clock'
        p50, p95 = (self._latencies.percentile(percent) * MS for percent in (50, 95))
        return f'latency p50 {p50:.0f} ms, p95 {p95:.0f} ms'

    def _format_table(self, result: FrameResult) -> list[str]:
        counts = '  '.join(f'{name} {num}' for name, num in result.counts().items())
        lines = [
            f'{self._seconds(result):.1f} s, frame {result.index}, '
            f'{_format_latency(result).strip()}   ({self.latency_summary()})',
            f'{len(result.detections)} detections:  {counts}' if counts else 'no detections',
            f'    {"class":<18} score   left    top  width height  [pixels]',
        ]
        for label, score, (left, top, right, bottom) in islice(result.rows(), ROWS):
            lines.append(
                f'  {self._class_marker(label)} {result.name(label)[:18]:<18} {score:5.2f} '
                f'{left:6.0f} {top:6.0f} {right - left:6.0f} {bottom - top:6.0f}'
            )
        num_hidden = len(result.detections) - ROWS
        padding = [''] * max(0, -num_hidden)
        return [*lines, *padding, f'  ... and {num_hidden} more' if num_hidden > 0 else '']

    def _class_marker(self, label: int) -> str:
        if not self._has_colours:
            return '*'
        red, green, blue = class_colour(label)
        return f'\x1b[38;2;{red};{green};{blue}m*\x1b[0m'

    def _redraw(self, lines: list[str]) -> None:
        size = shutil.get_terminal_size()
        lines = lines[: max(1, size.lines - 1)]
        cursor_up = f'\x1b[{self._height}F' if self._height else ''
        text = ''.join(_truncate(line, size.columns) + '\x1b[K\n' for line in lines)
        self._stream.write(f'{cursor_up}{text}\x1b[J')
        self._stream.flush()
        self._height = len(lines)

    def _seconds(self, result: FrameResult) -> float:
        return (result.stamp_ns - (self._first_ns or 0)) / NS


def _format_latency(result: FrameResult) -> str:
    if result.latency is None:
        return 'latency unknown'
    return f'latency {result.latency * MS:5.1f} ms'


def _truncate(line: str, columns: int) -> str:
    marker, reset, text = line.rpartition('\x1b[0m')
    # The escape codes of the marker take no columns; the marker and two spaces take three.
    return f'{marker}{reset}{text[: max(0, columns - 4)]}' if reset else line[: columns - 1]
