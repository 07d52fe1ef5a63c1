"""Tests of the video recorder."""

from pathlib import Path

import cv2
from mnssd_perception.errors import RecordingError
from mnssd_perception.recording import video, VideoRecorder
import numpy as np
import pytest

NS = 10**9


def grey(value: int, size_wh: tuple[int, int] = (64, 48)) -> np.ndarray:
    return np.full((size_wh[1], size_wh[0], 3), value, np.uint8)


def read(path: Path) -> tuple[float, list[np.ndarray]]:
    """Read a video: its rate and its frames."""
    capture = cv2.VideoCapture(str(path))
    rate, frames = capture.get(cv2.CAP_PROP_FPS), []
    while (answer := capture.read())[0]:
        frames.append(answer[1])
    capture.release()
    return rate, frames


def record(path: Path, stamps: list[float]) -> list[int]:
    """Record one grey a stamp [s], and return which image each frame of the video shows."""
    recorder = VideoRecorder(path)
    for index, stamp in enumerate(stamps):
        recorder.add(grey(20 + 20 * index), round(stamp * NS))
    recorder.close()
    return [round((frame.mean() - 20) / 20) for frame in read(path)[1]]


def test_nothing_recorded_is_no_file(tmp_path: Path) -> None:
    recorder = VideoRecorder(tmp_path / 'clip.mp4')
    recorder.close()
    assert not recorder.path.exists()
    assert recorder.num_images == 0


@pytest.mark.parametrize('num', [1, 2, 5, 6, 7, 10])
def test_every_image_is_a_frame(tmp_path: Path, num: int) -> None:
    shown = record(tmp_path / 'clip.mp4', [0.1 * index for index in range(num)])
    assert shown == list(range(num))


@pytest.mark.parametrize('rate', [2.0, 5.0, 12.5, 30.0])
def test_it_plays_as_fast_as_the_images_were_taken(tmp_path: Path, rate: float) -> None:
    record(tmp_path / 'clip.mp4', [1000 + index / rate for index in range(8)])
    assert read(tmp_path / 'clip.mp4')[0] == pytest.approx(rate, rel=0.01)


def test_an_image_stands_until_the_next_comes(tmp_path: Path) -> None:
    stamps = [0.0, 0.1, 0.2, 0.3, 0.6, 0.7, 0.8]
    assert record(tmp_path / 'clip.mp4', stamps) == [0, 1, 2, 3, 3, 3, 4, 5, 6]


def test_a_long_pause_is_cut_short(tmp_path: Path) -> None:
    stamps = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 3600.0, 3600.1]
    shown = record(tmp_path / 'clip.mp4', stamps)
    assert shown[-2:] == [6, 7]
    assert len(shown) <= 10 * video.MAX_PAUSE + 10


def test_stamps_that_stand_still_or_go_back_lose_nothing(tmp_path: Path) -> None:
    shown = record(tmp_path / 'clip.mp4', [0.0, 0.0, 0.1, 0.05, 0.2, 0.2, 0.3])
    assert shown == sorted(shown)
    assert set(shown) == set(range(7))


def test_a_clock_that_never_moves_gives_a_video(tmp_path: Path) -> None:
    assert record(tmp_path / 'clip.mp4', [0.0] * 8) == list(range(8))


@pytest.mark.parametrize('size_wh', [(65, 49), (33, 48), (1, 1)])
def test_odd_sides_are_made_even(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    recorder = VideoRecorder(tmp_path / 'clip.mp4')
    for index in range(3):
        recorder.add(grey(128, size_wh), index * NS // 10)
    recorder.close()
    _, frames = read(recorder.path)
    assert len(frames) == 3
    assert frames[0].shape[0] % 2 == frames[0].shape[1] % 2 == 0


def test_another_size_is_fitted_in_with_borders(tmp_path: Path) -> None:
    recorder = VideoRecorder(tmp_path / 'clip.mp4')
    recorder.add(grey(200, (128, 64)), 0)
    recorder.add(grey(200, (64, 64)), NS // 10)
    recorder.close()
    _, (first, second) = read(recorder.path)
    assert first.shape == second.shape == (64, 128, 3)
    assert abs(int(second[32, 64, 0]) - 200) < 12
    assert second[32, 4, 0] < 24
    assert second[32, 124, 0] < 24


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    recorder = VideoRecorder(tmp_path / 'missing' / 'clip.mp4')
    recorder.add(grey(1), 0)
    with pytest.raises(RecordingError, match=r'clip\.mp4'):
        recorder.close()


def test_a_full_disk_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path) -> None:
        raise RecordingError(f"the disk of '{folder}' is full")

    monkeypatch.setattr(video, 'check_space', full)
    recorder = VideoRecorder(tmp_path / 'clip.mp4')
    with pytest.raises(RecordingError, match='is full'):
        for index in range(video.SPACE_CHECK_PERIOD):
            recorder.add(grey(1), index * NS // 10)


@pytest.mark.parametrize('size_wh', [(1, 1), (2, 3000), (3000, 2), (9000, 100), (100, 9000)])
def test_extreme_images_are_recorded_within_bounds(tmp_path: Path, size_wh) -> None:
    recorder = VideoRecorder(tmp_path / 'clip.mp4')
    for stamp in range(3):
        recorder.add(grey(100, size_wh), stamp * NS // 10)
        assert max(recorder._pending[-1][1].shape) <= video.MAX_SIDE
    recorder.close()
    [frame, *_] = read(recorder.path)[1]
    assert min(frame.shape[:2]) >= video.MIN_SIDE
    assert max(frame.shape) <= video.MAX_SIDE
    assert abs(int(frame.max()) - 100) < 60
