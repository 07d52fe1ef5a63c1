"""Tests of the detection of lost images and missing shared memory."""

import fcntl
import os
from pathlib import Path

from hypothesis import given, strategies
import numpy as np
import pytest

pytest.importorskip('rclpy')

from mnssd_perception.ros import transport
from mnssd_perception.ros.diagnostics import WARN
from mnssd_perception.ros.transport import (
    LostImages,
    MIN_SAMPLES,
    read_shared_memory,
    remove_dead_segments,
    shared_memory_conditions,
    SharedMemory,
    TransportMonitor,
    WINDOW,
)
from sensor_msgs.msg import Image

pytestmark = pytest.mark.ros

MB, MS = 10**6, 10**6
FAST_DDS = 'rmw_fastrtps_cpp'
HD, UHD = 1280 * 720 * 3, 3840 * 2160 * 3
SEGMENT = 'fastrtps_0123456789abcdef'


@pytest.fixture
def shm(tmp_path, monkeypatch):
    """Make an empty folder for shared memory, and an empty list of open files."""
    for name in ('SHM', 'OPEN_FILES'):
        monkeypatch.setattr(transport, name, tmp_path / name)
        (tmp_path / name).mkdir()
    return tmp_path / 'SHM'


def make_segment(shm: Path, name: str = SEGMENT, size: int = 1000) -> Path:
    """Write a segment and its lock, both made a while ago."""
    (shm / name).write_bytes(bytes(size))
    lock = shm / f'{name}_el'
    lock.touch()
    os.utime(lock, (1, 1))
    return lock


def open_file(path: Path) -> None:
    """Let this process hold a file."""
    number = len(list(transport.OPEN_FILES.iterdir()))
    (transport.OPEN_FILES / str(number)).symlink_to(path)


def test_no_segment(shm):
    memory = read_shared_memory(FAST_DDS)
    assert memory is not None
    assert memory.segment == 0
    assert memory.free > 0


@pytest.mark.parametrize('name', [SEGMENT, 'fastdds_0123456789abcdef'])
def test_segments_of_other_processes_do_not_count(shm, name):
    open_file(make_segment(shm, name, size=1000))
    make_segment(shm, 'fastrtps_ffffffffffffffff', size=9000)  # of another process
    for other in (
        shm / 'fastrtps_port7001_el',
        Path('/elsewhere') / f'{name}_el',
        shm / 'gone_el',
    ):
        open_file(other)
    memory = read_shared_memory(FAST_DDS)
    assert memory is not None
    assert memory.segment == 1000


def test_file_that_is_closed_meanwhile_is_skipped(shm):
    (transport.OPEN_FILES / '3').touch()  # is no link, as one that has gone
    open_file(shm / f'{SEGMENT}_el')  # whose segment has gone
    memory = read_shared_memory(FAST_DDS)
    assert memory is not None
    assert memory.segment == 0


def test_other_middleware_gives_none(shm):
    assert read_shared_memory('rmw_cyclonedds_cpp') is None


def test_other_operating_systems_give_none(shm, monkeypatch):
    monkeypatch.setattr(transport, 'OPEN_FILES', shm / 'proc')
    assert read_shared_memory(FAST_DDS) is None
    assert shared_memory_conditions(None, UHD, UHD) == []


@pytest.mark.parametrize(
    ('segment', 'free', 'sent', 'received', 'hint'),
    [
        (0, 8, 0, 0, None),
        (0, 8, 1000, 1000, None),
        (0, 8, HD, 0, '--shm-size=256m'),
        (0, 8, 0, HD, '--shm-size=256m'),
        (0, 60, 0, UHD, '--shm-size=256m'),
        (0, 60, HD, 0, 'config/fastdds.xml'),
        (16 * MB, 8, HD, HD, None),
        (16 * MB, 8, 0, UHD, None),  # the publisher's segment holds it
        (16 * MB, 8, UHD, 0, '--shm-size=256m'),
        (16 * MB, 200, UHD, 0, 'config/fastdds_4k.xml'),
        (MB // 2, 200, HD, 0, 'config/fastdds.xml'),
        (MB // 2, 8, HD, 0, '--shm-size=256m'),  # a fall-back of LOCALHOST discovery
    ],
)
def test_shared_memory_conditions(segment, free, sent, received, hint):
    conditions = shared_memory_conditions(SharedMemory(segment, free * MB), sent, received)
    assert [condition.key for condition in conditions] == ['shared_memory'] * (hint is not None)
    for condition in conditions:
        assert hint in condition.message
        assert condition.level == WARN
        assert len(condition.message) <= 200  # or the end with the cure would be cut off


def test_no_dead_segments(shm, monkeypatch):
    assert remove_dead_segments() == 0
    monkeypatch.setattr(transport, 'SHM', shm / 'gone')
    assert remove_dead_segments() == 0


def test_segments_of_dead_processes_are_removed(shm):
    make_segment(shm)
    make_segment(shm, 'fastdds_0123456789abcdef')
    assert remove_dead_segments() == 2
    assert list(shm.iterdir()) == []


def test_segments_in_use_are_kept(shm):
    with make_segment(shm).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert remove_dead_segments() == 0
    assert (shm / SEGMENT).exists()


def test_new_segments_are_kept(shm):
    os.utime(make_segment(shm))
    assert remove_dead_segments() == 0
    assert (shm / SEGMENT).exists()


def test_other_files_are_kept(shm):
    names = ['fastrtps_port7001_el', 'fastrtps_port7001', 'notes_el', f'{SEGMENT}_el.txt']
    for name in names:
        (shm / name).touch()
        os.utime(shm / name, (1, 1))
    assert remove_dead_segments() == 0
    assert sorted(path.name for path in shm.iterdir()) == sorted(names)


def watch(stamps_ms):
    images = LostImages('/image')
    for stamp in stamps_ms:
        images.add(round(stamp * MS))
    return images


def lost_every(step, num=100, period=66.7):
    """Stamp images of which every ``step``-th is lost."""
    return [index * period for index in range(num) if index % step != step - 1]


def test_no_images_are_no_loss():
    assert watch([]).conditions() == []
    assert watch([5]).conditions() == []


def test_constant_rate_is_no_loss():
    images = watch(index * 66.7 for index in range(200))
    assert images.estimate_loss() == 0.0


@given(strategies.lists(strategies.floats(-0.15, 0.15), min_size=50, max_size=100))
def test_jitter_does_not_count_as_loss(jitter):
    images = watch((index + late) * 66.7 for index, late in enumerate(jitter))
    assert images.estimate_loss() == 0.0


@pytest.mark.parametrize('seed', range(20))
def test_source_without_a_constant_rate_is_no_loss(seed):
    intervals = np.random.default_rng(seed).uniform(200, 700, 100)
    assert watch(np.cumsum(intervals)).conditions() == []


@pytest.mark.parametrize(('step', 'loss'), [(20, 0.0), (4, 0.25), (3, 1 / 3)])
def test_loss_is_estimated(step, loss):
    assert watch(lost_every(step)).estimate_loss() == pytest.approx(loss, abs=0.02)


def test_loss_of_most_images_is_estimated():
    # 2 of 15 images a second arrive.
    steps = [1, 14, 3, 9, 11, 1, 22, 5, 2, 7] * 6
    stamps = [sum(steps[:index]) * 66.7 for index in range(len(steps))]
    assert watch(stamps).estimate_loss() == pytest.approx(1 - 10 / sum(steps[:10]), abs=0.02)


def test_loss_is_estimated_without_consecutive_images():
    # As measured at 15 Hz.
    steps = [7, 16, 29, 2, 13, 3, 2, 4, 21, 42, 2]
    stamps = [sum(steps[:index]) * 66.7 for index in range(len(steps) + 1)]
    assert watch(stamps).estimate_loss() > 0.8


def test_loss_is_estimated_where_delays_of_a_busy_camera_add_up():
    # As measured at 15 Hz: 20 of 200 images arrived.
    intervals = [466, 200, 468, 808, 392, 135, 65, 66, 2533, 2001, 66, 266, 348, 61, 594, 3880]
    assert watch(np.cumsum([0, *intervals])).estimate_loss() > 0.8


def test_message_names_topic_loss_and_hint():
    (condition,) = watch(lost_every(3)).conditions()
    assert (condition.key, condition.level) == ('lost_images', WARN)
    for part in ('33 %', '/image', 'fastdds.xml', '--shm-size', '--ipc=host', 'reliable'):
        assert part in condition.message
    assert len(condition.message) <= 200


def test_tolerated_loss_is_not_reported():
    images = watch(lost_every(11))
    assert 0 < images.estimate_loss() < transport.TOLERATED_LOSS
    assert images.conditions() == []


def test_too_few_samples_are_not_significant():
    stamps = lost_every(2 * MIN_SAMPLES, num=MIN_SAMPLES)
    stamps[1:] = [stamp + 500 for stamp in stamps[1:]]
    assert watch(stamps).conditions() == []
    assert watch(lost_every(3, num=6 * MIN_SAMPLES)).conditions()


def test_loss_is_cleared_when_images_arrive_again():
    images = watch(lost_every(3))
    assert images.conditions()
    for index in range(WINDOW + 1):
        images.add(round((10_000 + index * 66.7) * MS))
    assert images.conditions() == []


def test_loss_is_cleared_when_no_more_images_arrive():
    now = [0.0]
    images = LostImages('/image', clock=lambda: now[0])
    for stamp in lost_every(3):
        images.add(round(stamp * MS))
    now[0] = transport.MAX_GAP
    assert images.conditions()
    now[0] += 0.1
    assert images.conditions() == []


@pytest.mark.parametrize('gap', [-1000, 0, 60_000], ids=['back', 'same', 'pause'])
def test_clip_that_starts_over_is_no_loss(gap):
    stamps = [index * 66.7 for index in range(40)]
    again = [stamps[-1] + gap + stamp for stamp in stamps]
    assert watch([*stamps, *again, *again]).estimate_loss() == 0.0


def test_monitor_reports_nothing_before_the_first_image(shm):
    assert TransportMonitor('/image').conditions() == []


def test_monitor_reports_missing_shared_memory_for_large_received_images(shm):
    monitor = TransportMonitor('/image')
    monitor.add(Image(data=bytes(100)))
    assert monitor.conditions() == []
    monitor.add(Image(data=bytes(2**17)))
    (condition,) = monitor.conditions()
    assert condition.key == 'shared_memory'


def test_monitor_reports_missing_shared_memory_for_large_sent_images(shm):
    monitor = TransportMonitor('/image')
    monitor.sent_bytes = 2**17
    (condition,) = monitor.conditions()
    assert condition.key == 'shared_memory'
    monitor.sent_bytes = 0
    assert monitor.conditions() == []
