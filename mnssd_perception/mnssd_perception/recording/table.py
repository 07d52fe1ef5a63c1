"""Sightings to a table in the terminal that is drawn anew, or to lines of a log."""

import os
import shutil
from typing import TextIO

from mnssd_perception.latency import LatencyWindow
from mnssd_perception.overlay import class_colour
from mnssd_perception.recording.sighting import FrameResult

NS = 10**9
MS = 1000

# Rows of detections; the best are shown.
ROWS = 8

# Where there is no terminal to draw on, seldom enough for a log [s].
LINE_PERIOD = 0.5


class Table:
    """
    Shows what is found, live.

    :param stream: where to; it is drawn on where it is a terminal, else lines are appended.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        terminal = os.environ.get('TERM', '')
        self._draws = stream.isatty() and terminal not in ('', 'dumb')
        self._colours = self._draws and 'NO_COLOR' not in os.environ
        self._latencies = LatencyWindow()
        self._first_ns: int | None = None
        self._next_line_ns = 0
        self._height = 0

    def show(self, sighting: FrameResult) -> None:
        """
        Show a frame.

        :param sighting: what was found in it.
        """
        if self._first_ns is None:
            self._first_ns = sighting.stamp_ns
        if sighting.latency is not None:
            self._latencies.add(sighting.latency)
        if self._draws:
            self._draw(self._block(sighting))
        elif sighting.stamp_ns >= self._next_line_ns:
            self._next_line_ns = sighting.stamp_ns + int(LINE_PERIOD * NS)
            self._stream.write(self._line(sighting) + '\n')
            self._stream.flush()

    def latency_words(self) -> str:
        """
        Sum up the latencies of the last frames.

        :return: median and 95th percentile in words.
        """
        if not len(self._latencies):
            return 'latency unknown: the camera has another clock'
        p50, p95 = (self._latencies.percentile(percent) * MS for percent in (50, 95))
        return f'latency p50 {p50:.0f} ms, p95 {p95:.0f} ms'

    def _line(self, sighting: FrameResult) -> str:
        """Write a frame as one line."""
        counts = ', '.join(f'{num} {name}' for name, num in sighting.counts().items())
        return (
            f'{self._seconds(sighting):7.2f} s  frame {sighting.index:4d}  '
            f'{_latency(sighting)}  {counts or "nothing"}'
        )

    def _block(self, sighting: FrameResult) -> list[str]:
        """Write a frame as a table."""
        found = sighting.detections
        counts = '  '.join(f'{name} {num}' for name, num in sighting.counts().items())
        lines = [
            f'{self._seconds(sighting):.1f} s, frame {sighting.index}, '
            f'{_latency(sighting).strip()}   ({self.latency_words()})',
            f'{len(found)} found:  {counts}' if len(found) else 'nothing found',
            f'    {"class":<18} score   left    top  width height  [pixels]',
        ]
        rows = zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist())
        for label, score, (left, top, right, bottom) in list(rows)[:ROWS]:
            lines.append(
                f'  {self._mark(label)} {sighting.name(label)[:18]:<18} {score:5.2f} '
                f'{left:6.0f} {top:6.0f} {right - left:6.0f} {bottom - top:6.0f}'
            )
        more = len(found) - ROWS
        blank = [''] * max(0, -more)
        return [*lines, *blank, f'  ... and {more} more' if more > 0 else '']

    def _mark(self, label: int) -> str:
        """Make a dot in the colour that the class has in the video."""
        if not self._colours:
            return '*'
        red, green, blue = class_colour(label)
        return f'\x1b[38;2;{red};{green};{blue}m*\x1b[0m'

    def _draw(self, lines: list[str]) -> None:
        """Draw lines over those that were drawn before."""
        size = shutil.get_terminal_size()
        lines = lines[: max(1, size.lines - 1)]
        back = f'\x1b[{self._height}F' if self._height else ''
        # Cut by the plain length, without the colour of the dot.
        cut = ''.join(_cut(line, size.columns) + '\x1b[K\n' for line in lines)
        self._stream.write(f'{back}{cut}\x1b[J')
        self._stream.flush()
        self._height = len(lines)

    def _seconds(self, sighting: FrameResult) -> float:
        """Measure the time since the first frame."""
        return (sighting.stamp_ns - (self._first_ns or 0)) / NS


def _latency(sighting: FrameResult) -> str:
    """Write the latency of a frame."""
    if sighting.latency is None:
        return 'latency unknown'
    return f'latency {sighting.latency * MS:5.1f} ms'


def _cut(line: str, columns: int) -> str:
    """Shorten a line to the width of the terminal, so that it takes no second row."""
    if '\x1b[0m' in line:
        mark, _, rest = line.partition('\x1b[0m')
        return f'{mark}\x1b[0m{rest[: max(0, columns - 4)]}'
    return line[: columns - 1]
