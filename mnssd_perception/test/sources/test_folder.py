"""Tests of the folder source."""

import cv2
from mnssd_perception.errors import SourceError
from mnssd_perception.sources.folder import FolderSource
import numpy as np
import pytest


def write(path, image=None):
    image = np.full((4, 6, 3), 7, np.uint8) if image is None else image
    assert cv2.imwrite(str(path), image)
    return path


def test_empty_folder_is_an_error(tmp_path):
    with pytest.raises(SourceError, match='got nothing'):
        FolderSource(tmp_path)


def test_folder_without_images_is_an_error(tmp_path):
    (tmp_path / 'notes.txt').write_text('hello')
    write(tmp_path / '.hidden.png')
    with pytest.raises(SourceError, match='got 1 other entries'):
        FolderSource(tmp_path)


@pytest.mark.parametrize(
    'names',
    [
        ('1.png', '2.png', '9.png', '10.png', '100.png'),
        ('a2_b10.png', 'a10_b2.png', 'b1.png'),
        ('4.PNG', '007.png', '8.png'),
        ('²1.png', '²2.png', '²10.png', '².png'),
        ('٣.png',),
    ],
)
def test_images_are_played_in_natural_order(tmp_path, names):
    for name in sorted(names):
        (tmp_path / name).write_bytes(cv2.imencode('.png', np.zeros((2, 2, 3), np.uint8))[1])
    source = FolderSource(tmp_path)
    assert len(source) == len(names)
    assert [frame.name for frame in source] == list(names)


def test_single_image_is_played_at_the_default_rate(tmp_path):
    source = FolderSource(write(tmp_path / 'one.png'))
    assert source.rate == 10.0
    assert [frame.name for frame in source] == ['one.png']
    assert FolderSource(tmp_path, rate=3.0).rate == 3.0


def test_unreadable_images_are_skipped_and_reported(tmp_path):
    whole = write(tmp_path / '1.jpg').read_bytes()
    (tmp_path / '2.jpg').write_bytes(b'')
    (tmp_path / '3.jpg').write_bytes(b'no image')
    (tmp_path / '4.jpg').write_bytes(whole[: len(whole) // 10])
    (tmp_path / '5.jpg').mkdir()
    write(tmp_path / '6.jpg')
    messages = []
    source = FolderSource(tmp_path, report=messages.append)
    assert [frame.name for frame in source] == ['1.jpg', '6.jpg']
    assert len(messages) == 4
    assert '2.jpg' in messages[0]


def test_folder_without_readable_images_is_an_error_after_one_pass(tmp_path):
    (tmp_path / '1.png').write_bytes(b'garbage')
    with pytest.raises(SourceError, match='no readable frame'):
        list(FolderSource(tmp_path, loop=True))


def read(path):
    """Play a folder of one image."""
    [frame] = FolderSource(path)
    return frame.image


def test_colour_grey_and_thermal_images_keep_their_type(tmp_path):
    colour = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    np.testing.assert_array_equal(read(write(tmp_path / 'a.png', colour)), colour)
    grey = colour[..., 0].copy()
    np.testing.assert_array_equal(read(write(tmp_path / 'b.png', grey)), grey)
    thermal = grey.astype(np.uint16) + 30000
    image = read(write(tmp_path / 'c.png', thermal))
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, thermal)
    deep_colour = read(write(tmp_path / 'd.png', colour.astype(np.uint16) << 8))
    assert deep_colour.dtype == np.uint8
    np.testing.assert_array_equal(deep_colour, colour)


def test_floating_point_images_are_refused(tmp_path):
    messages = []
    source = FolderSource(
        write(tmp_path / 'a.tiff', np.zeros((4, 4), np.float32)), report=messages.append
    )
    with pytest.raises(SourceError, match='no readable frame'):
        list(source)
    assert 'float32' in messages[0]
