"""Tests of the latency window."""

from mnssd_perception.latency import LatencyWindow
import pytest


def test_empty_window_returns_zero() -> None:
    window = LatencyWindow()
    assert (len(window), window.mean(), window.percentile(95)) == (0, 0.0, 0.0)


def test_window_keeps_the_last_durations() -> None:
    window = LatencyWindow(size=3)
    for seconds in (100.0, 1.0, 2.0, 3.0):
        window.add(seconds)
    assert len(window) == 3
    assert window.mean() == pytest.approx(2.0)
    assert window.percentile(50) == pytest.approx(2.0)
    window.clear()
    assert len(window) == 0
