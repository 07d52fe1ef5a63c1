"""Tests of the transport benchmark."""

from importlib.util import find_spec
import os
from pathlib import Path
import subprocess
import sys

import pytest

from benchmarks import transport
from benchmarks.transport import compute_stats, main

MS, NS = 10**6, 10**9


def test_no_received_image_is_a_complete_loss() -> None:
    stats = compute_stats([], [], sent=30, rate=30.0)
    assert (stats.received, stats.late_start, stats.lost) == (0, 30, 1.0)
    assert stats.rate == stats.latency_p50 == 0.0


def test_all_received_images_are_no_loss() -> None:
    stamps = [index * 100 * MS for index in range(30)]
    stats = compute_stats(stamps, [stamp + 4 * MS for stamp in stamps], sent=30, rate=10.0)
    assert (stats.received, stats.late_start, stats.lost) == (30, 0, 0.0)
    assert stats.rate == pytest.approx(10.0)
    assert stats.latency_p50 == stats.latency_p95 == pytest.approx(0.004)


def test_images_lost_during_discovery_are_counted_separately() -> None:
    stamps = [index * 100 * MS for index in range(30) if index > 1 and index not in (10, 11, 20)]
    stats = compute_stats(stamps, stamps, sent=30, rate=10.0)
    assert stats.received == 25
    assert stats.late_start == 2
    assert stats.lost == pytest.approx(5 / 30)


def test_jitter_does_not_count_as_loss() -> None:
    late = {5: 40 * MS, 12: 30 * MS}
    stamps = [index * 100 * MS + late.get(index, 0) for index in range(30)]
    assert compute_stats(stamps, stamps, sent=30, rate=10.0).late_start == 0


def test_a_single_image_has_no_rate() -> None:
    stats = compute_stats([5], [10], sent=1, rate=30.0)
    assert (stats.lost, stats.late_start, stats.rate) == (0.0, 0, 0.0)


@pytest.mark.parametrize(
    'arguments', [['--size', 'large'], ['--size', '10x'], ['--rate', '0'], ['--seconds', 'nan']]
)
def test_invalid_arguments_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(arguments)
    assert refusal.value.code == 2
    assert 'expected' in capsys.readouterr().err


def test_missing_profile_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(transport, 'find_profile', lambda *_: None)
    assert main([]) == 1
    assert 'make setup' in capsys.readouterr().err


@pytest.mark.ros
@pytest.mark.skipif(find_spec('rclpy') is None, reason='needs rclpy')
@pytest.mark.slow
def test_profiles_and_defaults_are_measured() -> None:
    arguments = ['--size', '320x240', '--rate', '20', '--seconds', '1']
    ran = subprocess.run(
        [sys.executable, '-m', 'benchmarks.transport', *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != 'ROS_DOMAIN_ID'},
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    rows = [line.split() for line in ran.stdout.splitlines()[-3:]]
    assert [row[0] for row in rows] == ['fastdds.xml', 'fastdds_4k.xml', 'Fast']
    for row in rows[:2]:
        assert row[1] == '20'
        # A busy machine may lose some on the way, and those that are sent before both are ready.
        assert 0 < int(row[2]) <= 20
