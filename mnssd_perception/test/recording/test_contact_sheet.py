"""Tests of the contact sheet."""

from pathlib import Path

import cv2
from mnssd_perception.errors import RecordingError
from mnssd_perception.recording import contact_sheet, ContactSheet
import numpy as np
import pytest


def colour(index: int, size_wh: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Make an image whose grey tells its number in steps of 2."""
    return np.full((size_wh[1], size_wh[0], 3), 2 * index, np.uint8)


def captions(num: int, monkeypatch: pytest.MonkeyPatch, path: Path) -> list[int]:
    """Make a sheet of a clip and return the numbers of the frames that it shows."""
    shown: list[int] = []

    def arrange(tiles: list[tuple[np.ndarray, str]]) -> np.ndarray:
        shown.extend(int(caption) for _, caption in tiles)
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(contact_sheet, '_arrange', arrange)
    sheet = ContactSheet(12)
    for index in range(num):
        sheet.add(colour(index % 100), str(index))
    sheet.write(path)
    return shown


def test_no_frame_is_no_file(tmp_path: Path) -> None:
    ContactSheet().write(tmp_path / 'sheet.jpg')
    assert not (tmp_path / 'sheet.jpg').exists()


@pytest.mark.parametrize('num', [1, 2, 11, 12])
def test_a_short_clip_is_shown_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num: int
) -> None:
    assert captions(num, monkeypatch, tmp_path / 'sheet.jpg') == list(range(num))


@pytest.mark.parametrize('num', [13, 23, 24, 25, 61, 100, 1000])
def test_frames_of_a_long_clip_are_spread_evenly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num: int
) -> None:
    shown = captions(num, monkeypatch, tmp_path / 'sheet.jpg')
    assert len(shown) == 12
    assert shown[0] == 0
    assert shown[-1] >= num * 0.85 - 1
    steps = np.diff(shown)
    assert steps.min() >= 1
    assert steps.max() <= 2 * steps.min()


def test_memory_does_not_grow_with_the_clip() -> None:
    sheet = ContactSheet(4)
    most = 0
    for index in range(2000):
        sheet.add(colour(index % 100, (8, 8)), '')
        most = max(most, len(sheet._tiles))
    assert most <= 8


@pytest.mark.parametrize('size_wh', [(640, 512), (1280, 720), (32, 24), (48, 640), (1, 1)])
def test_the_sheet_is_an_image_of_whole_tiles(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    sheet = ContactSheet()
    for index in range(5):
        sheet.add(colour(100, size_wh), f'frame {index}')
    sheet.write(tmp_path / 'sheet.jpg')
    image = cv2.imread(str(tmp_path / 'sheet.jpg'))
    assert image is not None
    assert image.shape[1] == 3 * (contact_sheet.TILE_WIDTH + contact_sheet.GAP) + contact_sheet.GAP
    assert abs(int(image[contact_sheet.GAP + 4, contact_sheet.GAP + 4, 0]) - 200) < 8


def test_sizes_may_differ(tmp_path: Path) -> None:
    sheet = ContactSheet()
    for size_wh in ((64, 48), (48, 64), (64, 48)):
        sheet.add(colour(50, size_wh), '')
    sheet.write(tmp_path / 'sheet.jpg')
    assert cv2.imread(str(tmp_path / 'sheet.jpg')) is not None


@pytest.mark.parametrize('size_wh', [(2, 3000), (3000, 2), (1, 32766), (9000, 7000)])
def test_tiles_of_extreme_images_stay_small(size_wh: tuple[int, int]) -> None:
    sheet = ContactSheet()
    sheet.add(colour(50, size_wh), '')
    [(tile, _)] = sheet._tiles
    assert tile.shape[0] <= contact_sheet.MAX_TILE_HEIGHT
    assert tile.shape[1] <= contact_sheet.TILE_WIDTH
    assert (tile == 100).all()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    sheet = ContactSheet()
    sheet.add(colour(1), '')
    with pytest.raises(RecordingError, match=r'sheet\.jpg'):
        sheet.write(tmp_path / 'missing' / 'sheet.jpg')
