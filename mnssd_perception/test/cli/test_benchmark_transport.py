"""Tests of the measurement of the transport."""

from importlib.util import find_spec
import os
import subprocess
import sys

from mnssd_perception.cli import benchmark_transport
from mnssd_perception.cli.benchmark_transport import main, sum_up
import pytest

MS, NS = 10**6, 10**9


def test_nothing_received_is_all_lost() -> None:
    figures = sum_up([], [], sent=30, rate=30.0)
    assert (figures.received, figures.late_start, figures.lost) == (0, 30, 1.0)
    assert figures.rate == figures.latency_p50 == 0.0


def test_everything_received_is_nothing_lost() -> None:
    stamps = [index * 100 * MS for index in range(30)]
    figures = sum_up(stamps, [stamp + 4 * MS for stamp in stamps], sent=30, rate=10.0)
    assert (figures.received, figures.late_start, figures.lost) == (30, 0, 0.0)
    assert figures.rate == pytest.approx(10.0)
    assert figures.latency_p50 == figures.latency_p95 == pytest.approx(0.004)


def test_images_lost_at_the_start_are_told_from_those_lost_later() -> None:
    stamps = [index * 100 * MS for index in range(30) if index > 1 and index not in (10, 11, 20)]
    figures = sum_up(stamps, stamps, sent=30, rate=10.0)
    assert figures.received == 25
    assert figures.late_start == 2
    assert figures.lost == pytest.approx(5 / 30)


def test_jitter_is_no_loss() -> None:
    late = {5: 40 * MS, 12: 30 * MS}
    stamps = [index * 100 * MS + late.get(index, 0) for index in range(30)]
    assert sum_up(stamps, stamps, sent=30, rate=10.0).late_start == 0


def test_a_single_image_has_no_rate() -> None:
    figures = sum_up([5], [10], sent=1, rate=30.0)
    assert (figures.lost, figures.late_start, figures.rate) == (0.0, 0, 0.0)


@pytest.mark.parametrize(
    'words', [['--size', 'large'], ['--size', '10x'], ['--rate', '0'], ['--seconds', 'nan']]
)
def test_wrong_arguments_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(words)
    assert refusal.value.code == 2
    assert 'expected' in capsys.readouterr().err


def test_a_missing_profile_does_not_pass_for_a_measurement(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark_transport, 'profile_path', lambda *_: None)
    assert main([]) == 1
    assert 'make setup' in capsys.readouterr().err


@pytest.mark.ros
@pytest.mark.skipif(find_spec('rclpy') is None, reason='needs rclpy')
@pytest.mark.slow
def test_profiles_and_defaults_are_measured() -> None:
    words = ['--size', '320x240', '--rate', '20', '--seconds', '1']
    ran = subprocess.run(
        [sys.executable, '-m', 'mnssd_perception.cli.benchmark_transport', *words],
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
