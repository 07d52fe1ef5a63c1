"""Tests of the table."""

import io
import os
import re

from mnssd_perception.recording import FrameResult, Table, table
from mnssd_perception.ssd import Detections
import numpy as np
import pytest

NS = 10**9
CONTROL = re.compile(r'\x1b\[[0-9;]*[A-Za-z]')


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def frame_result(index: int, num: int = 2, latency: float | None = 0.02) -> FrameResult:
    boxes = np.tile(np.array([10, 20, 60, 90], np.float32), (num, 1))
    scores = np.linspace(0.9, 0.5, num, dtype=np.float32)
    detections = Detections(boxes, scores, np.arange(num, dtype=np.int64) % 2)
    names = {0: 'Person', 1: 'a class with a long name'}
    return FrameResult(index, index * NS // 10, 'camera', latency, detections, names)


def screen(written: str) -> list[str]:
    """Interpret the output as a terminal would, and return its lines."""
    lines: list[str] = []
    row = 0
    for part in re.split(r'(\x1b\[\d+F)', written):
        back = re.fullmatch(r'\x1b\[(\d+)F', part)
        if back:
            row = max(0, row - int(back[1]))
            continue
        for line in CONTROL.sub('', part).split('\n')[:-1]:
            lines[row : row + 1] = [line]
            row += 1
        if '\x1b[J' in part:
            del lines[row:]
    return lines


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv('TERM', 'xterm-256color')
    monkeypatch.delenv('NO_COLOR', raising=False)
    size = os.terminal_size((80, 24))
    monkeypatch.setattr(table.shutil, 'get_terminal_size', lambda fallback=None: size)
    return Terminal()


def test_terminal_shows_only_the_newest_frame(terminal: Terminal) -> None:
    shown = Table(terminal)
    for index in range(5):
        shown.show(frame_result(index))
    lines = screen(terminal.getvalue())
    assert sum('frame' in line for line in lines) == 1
    assert 'frame 4' in lines[0]
    assert 'Person' in lines[1]
    assert '0.90     10     20     50     70' in lines[3]


@pytest.mark.parametrize('nums', [[0], [0, 3], [30, 0], [8, 9], [12, 1, 0, 40]])
def test_earlier_frames_are_erased(terminal: Terminal, nums: list[int]) -> None:
    shown = Table(terminal)
    for index, num in enumerate(nums):
        shown.show(frame_result(index, num))
    fresh = Terminal()
    alone = Table(fresh)
    alone.show(frame_result(len(nums) - 1, nums[-1]))
    assert screen(terminal.getvalue())[1:] == screen(fresh.getvalue())[1:]


def test_hidden_detections_are_counted(terminal: Terminal) -> None:
    Table(terminal).show(frame_result(0, 11))
    lines = screen(terminal.getvalue())
    assert lines[-1].strip() == f'... and {11 - table.ROWS} more'
    assert lines[1].startswith('11 detections')


@pytest.mark.parametrize('columns', [1, 20, 40, 79])
def test_lines_are_truncated_to_the_terminal(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    size = os.terminal_size((columns, 24))
    monkeypatch.setattr(table.shutil, 'get_terminal_size', lambda fallback=None: size)
    Table(terminal).show(frame_result(0, 11))
    assert all(len(line) <= max(4, columns) for line in screen(terminal.getvalue()))


def test_low_terminal_does_not_scroll(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    size = os.terminal_size((80, 5))
    monkeypatch.setattr(table.shutil, 'get_terminal_size', lambda fallback=None: size)
    shown = Table(terminal)
    for index in range(3):
        shown.show(frame_result(index, 11))
    assert len(screen(terminal.getvalue())) == 4


def test_no_color_variable_disables_colours(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    Table(terminal).show(frame_result(0))
    assert '\x1b[38;2;' in terminal.getvalue()
    monkeypatch.setenv('NO_COLOR', '1')
    plain = Terminal()
    Table(plain).show(frame_result(0))
    assert '\x1b[38;2;' not in plain.getvalue()


def test_log_gets_plain_lines_at_a_limited_rate() -> None:
    stream = io.StringIO()
    shown = Table(stream)
    for index in range(11):  # 1 s at 10 Hz
        shown.show(frame_result(index))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + int(1 / table.LINE_PERIOD)
    assert not CONTROL.search(stream.getvalue())
    assert 'Person' in lines[0]
    assert 'latency  20.0 ms' in lines[0]


def test_dumb_terminal_gets_plain_lines(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TERM', 'dumb')
    Table(terminal).show(frame_result(0, 0))
    assert terminal.getvalue().splitlines()[0].endswith('no detections')


def test_latency_summary_skips_foreign_clocks() -> None:
    shown = Table(io.StringIO())
    shown.show(frame_result(0, latency=None))
    assert 'unknown' in shown.latency_summary()
    for index in range(1, 101):
        shown.show(frame_result(index, latency=index / 1000))
    assert shown.latency_summary() == 'latency p50 50 ms, p95 95 ms'
