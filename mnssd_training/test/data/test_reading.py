"""What the readers share."""

import os
from pathlib import Path
import struct
import zlib

import cv2
from hypothesis import given
from hypothesis import strategies as st
from mnssd_perception import image_file
from mnssd_training.data.reading import (
    AnnotationBuilder,
    DirectoryIndex,
    header_size,
    MAX_ANNOTATION,
    read_classes,
    read_text,
    read_xml,
    SkipLog,
    unique_names,
)
from mnssd_training.data.sample import ANY_CLASS, read_image
from mnssd_training.errors import DatasetError
import numpy as np
from PIL import Image
import pytest

EDGE = st.floats(allow_nan=False, allow_infinity=False)


def test_no_regions() -> None:
    boxes, labels, ignore, ignore_labels = AnnotationBuilder(640, 512).arrays()
    assert boxes.shape == ignore.shape == (0, 4)
    assert labels.shape == ignore_labels.shape == (0,)
    assert boxes.dtype == ignore.dtype == np.float32
    assert labels.dtype == ignore_labels.dtype == np.int64


def test_ignore_regions_are_kept_apart() -> None:
    regions = AnnotationBuilder(640, 512)
    regions.add((0, 0, 1, 1), 2)
    regions.add((0, 0, 2, 2), 2, ignore=True)
    regions.add((0, 0, 3, 3), ANY_CLASS)
    boxes, labels, ignore, ignore_labels = regions.arrays()
    assert len(regions) == 1
    assert (boxes[:, 2].tolist(), labels.tolist()) == ([1], [2])
    assert (ignore[:, 2].tolist(), ignore_labels.tolist()) == ([2, 3], [2, ANY_CLASS])


@given(box=st.tuples(EDGE, EDGE, EDGE, EDGE))
def test_a_cut_box_is_inside_and_has_an_area(box: tuple[float, ...]) -> None:
    regions = AnnotationBuilder(640, 512)
    cut = regions.clip(box)
    if cut is None:
        return
    assert regions.touches(box)
    x1, y1, x2, y2 = np.float32(cut)
    assert 0 <= x1 < x2 <= 640
    assert 0 <= y1 < y2 <= 512


def test_a_tally_counts_and_names_the_first() -> None:
    tally = SkipLog()
    assert tally.notes() == ()
    for number in range(5):
        tally.skip('bad lines', f'a.txt:{number}', 'is bad')
    tally.skip('other things', 'b.txt', 'is other')
    assert tally.notes() == (
        'skipped 5 bad lines: a.txt:0: is bad; a.txt:1: is bad; a.txt:2: is bad',
        'skipped 1 other things: b.txt: is other',
    )
    with pytest.raises(DatasetError, match=r'^a\.txt:0: is bad$'):
        SkipLog(strict=True).skip('bad lines', 'a.txt:0', 'is bad')


def test_folders_are_listed_once(tmp_path: Path) -> None:
    folders = DirectoryIndex()
    (tmp_path / 'a').touch()
    assert folders.has(tmp_path / 'a')
    (tmp_path / 'b').touch()
    assert not folders.has(tmp_path / 'b')
    (tmp_path / 'loop').symlink_to(tmp_path / 'loop')
    for path in ('nowhere/a', 'nul\0/a', 'a/b', 'loop/a', 'x' * 5000 + '/a'):
        assert not folders.has(tmp_path / path)


@pytest.mark.parametrize(
    ('paths', 'names'),
    [
        ([], []),
        (['a/1.jpg', 'b/2.jpg'], ['1', '2']),
        (['a/1.jpg', 'b/1.jpg'], ['a/1', 'b/1']),
        (['a/1.jpg', 'a/1.png'], ['a/1.jpg', 'a/1.png']),
        (['1.a.jpg', '1.b.jpg'], ['1.a', '1.b']),
    ],
)
def test_unique_names(paths: list[str], names: list[str]) -> None:
    root = Path('/root')
    assert unique_names([root / path for path in paths], root) == names


@pytest.mark.parametrize('text', [b'\xef\xbb\xbfa\r\n b c \r\n\r\n', b'a\nb c'])
def test_class_lists(tmp_path: Path, text: bytes) -> None:
    (tmp_path / 'classes.txt').write_bytes(text)
    assert read_classes(tmp_path) == ('a', 'b c')


# --- sizes from headers ----------------------------------------------------------------------


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'bmp', 'tif', 'webp'])
def test_a_header_says_what_opencv_decodes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f'image.{suffix}'
    cv2.imwrite(str(path), np.zeros((17, 31, 3), np.uint8))
    assert header_size(path) == read_image(path).shape[:2] == (17, 31)


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp'])
@pytest.mark.parametrize('orientation', range(10))
def test_images_taken_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f'upright.{suffix}'
    Image.new('RGB', (31, 17)).save(path, exif=exif)
    assert header_size(path) == image_file.read_image(path).shape[:2]
    assert header_size(path) == ((31, 17) if orientation in (5, 6, 7, 8) else (17, 31))


# --- limits ----------------------------------------------------------------------------------


def test_text_is_read_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / 'a.txt'
    path.write_bytes(b'')
    assert read_text(path, 0) == ''
    path.write_bytes(b'abc')
    assert read_text(path, 3) == 'abc'
    with pytest.raises(DatasetError, match='expected at most 2 bytes, got 3'):
        read_text(path, 2)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / 'a.txt'
    with path.open('wb') as file:
        file.truncate(1 << 40)  # bytes that are not on the disk
    with pytest.raises(DatasetError, match='got 1099511627776'):
        read_text(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'a.txt')
    with pytest.raises(DatasetError, match='not a file'):
        read_text(tmp_path / 'a.txt')


LAUGHS = (
    '<!DOCTYPE a [<!ENTITY a "ha">'
    + ''.join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip('abcdefgh', 'bcdefghi'))
    + ']><a>&i;</a>'
)


@pytest.mark.parametrize(
    'text',
    [
        LAUGHS,
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        '<a>' * 100_000,
        '<a/>' * 400_001,
        '<a>&b;</a>',
        '',
        '\0',
        'a' * (MAX_ANNOTATION + 1),
    ],
    ids=['laughs', 'external', 'open', 'tags', 'unknown', 'empty', 'null', 'long'],
)
def test_xml_that_grows_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / 'a.xml').write_text(text)
    with pytest.raises(DatasetError, match=r'a\.xml: (not XML|expected at most)'):
        read_xml(tmp_path / 'a.xml')


def test_deep_xml_is_read(tmp_path: Path) -> None:
    (tmp_path / 'a.xml').write_text('<a>' * 200_000 + '</a>' * 200_000)
    assert read_xml(tmp_path / 'a.xml').tag == 'a'


def png(width: int, height: int) -> bytes:
    """A PNG of any size, with nothing in it."""
    header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(content))
        + kind
        + content
        + struct.pack('>I', zlib.crc32(kind + content))
        for kind, content in ((b'IHDR', header), (b'IDAT', b''))
    )


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (None, 'cannot read the image: No such file'),
        (b'', 'not an image'),
        (b'\0' * 50, 'not an image'),
        (b'\xff\xd8\xff\xe0', 'not an image'),
        (png(1_000_000, 1_000_000), r'expected at most \d+ pixels|expected 1 to'),
        (png(100_000, 1), 'expected sides of 1 to 32766 pixels, got 100000x1'),
        (png(0, 5), 'expected 1 to .* pixels, got 0x5|not an image'),
    ],
    ids=['missing', 'empty', 'zeros', 'cut', 'bomb', 'wide', 'no width'],
)
def test_headers_that_say_nothing(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / 'image.png'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=words) as caught:
        header_size(path)
    assert caught.value.path == path


@pytest.mark.parametrize('name', ['nul\0', 'x' * 5000, '.'])
def test_names_that_no_image_has(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match='cannot read the image|not an image|header is damaged'):
        header_size(tmp_path / name)
