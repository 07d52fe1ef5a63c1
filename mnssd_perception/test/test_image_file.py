from io import BytesIO
from pathlib import Path
import struct
import zlib

import cv2
from mnssd_perception.encodings import MAX_PIXELS
from mnssd_perception.errors import ImageError, ImageFileError
from mnssd_perception.image_file import (
    _check_tiff_layout,
    decode_image,
    decode_stored,
    read_image,
    read_image_header,
    read_image_size,
)
from mnssd_perception.ssd.spec import MAX_IMAGE_SIDE
from mnssd_perception.thermal import to_8bit
import numpy as np
from PIL import Image
import pytest

ORIENTATION = 0x0112
LOSSY = 12  # greys that a JPEG may be off

# Four corners that differ, so that no turn looks like another; width and height differ too.
COLOURS = np.full((40, 64, 3), 90, np.uint8)
COLOURS[:20, :32], COLOURS[:20, 32:], COLOURS[20:, :32] = (
    (200, 10, 10),
    (10, 200, 10),
    (10, 10, 200),
)
GREY = COLOURS[..., 0].copy()
THERMAL = 21000 + np.arange(40 * 64, dtype=np.uint16).reshape(40, 64) // 8

# How to turn stored pixels upright, by EXIF orientation.
UPRIGHT = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
SAVE = {
    'BMP': {},
    'JPEG': {'quality': 100, 'subsampling': 0},
    'PNG': {},
    'PPM': {},
    'TIFF': {},
    'WEBP': {'lossless': True},
}


def encode(image, format='PNG', orientation=None, **options) -> bytes:
    if orientation is not None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        options['exif'] = exif
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG without pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack('>I', zlib.crc32(kind + content))
        return struct.pack('>I', len(content)) + kind + content + check

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(b''))


def as_rgb(grey):
    return np.repeat(grey[..., None], 3, axis=2)


def test_empty_and_missing_files_are_refused(tmp_path: Path):
    with pytest.raises(ImageFileError, match="'empty.png': not an image"):
        decode_image(b'', 'empty.png')
    (tmp_path / 'empty.png').touch()
    with pytest.raises(ImageFileError):
        read_image(tmp_path / 'empty.png')
    with pytest.raises(ImageFileError):
        read_image_size(tmp_path / 'empty.png')
    with pytest.raises(ImageFileError, match='No such file'):
        read_image(tmp_path / 'missing.png')
    with pytest.raises(ImageFileError, match='No such file'):
        read_image_size(tmp_path / 'missing.png')
    with pytest.raises(ImageFileError):
        read_image(tmp_path)
    with pytest.raises(ImageFileError):
        read_image(Path('\0.png'))
    assert issubclass(ImageFileError, ImageError)


@pytest.mark.parametrize('format', SAVE)
def test_decodes_colours_and_grey(format: str, tmp_path: Path):
    loss = LOSSY if format == 'JPEG' else 0
    for stored, expected in ((COLOURS, COLOURS), (GREY, as_rgb(GREY))):
        path = tmp_path / 'image'
        path.write_bytes(encode(stored, format, **SAVE[format]))
        image = read_image(path)
        assert image.shape == (40, 64, 3)
        assert image.dtype == np.uint8
        assert np.abs(image.astype(int) - expected).max() <= loss
        assert read_image_size(path) == read_image_size(path.read_bytes()) == (64, 40)


@pytest.mark.parametrize('orientation', UPRIGHT)
@pytest.mark.parametrize('format', ['JPEG', 'PNG', 'TIFF', 'WEBP'])
def test_orientation_is_applied_alike_in_every_format(format: str, orientation: int):
    encoded = encode(COLOURS, format, orientation, **SAVE[format])
    expected = UPRIGHT[orientation](COLOURS)
    header = read_image_header(encoded)
    image = decode_image(encoded, 'turned')
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() <= (LOSSY if format == 'JPEG' else 0)
    assert header.size == image.shape[1::-1]
    assert header.orientation == orientation


@pytest.mark.parametrize('orientation', [0, 9])
def test_an_unknown_orientation_counts_as_upright(orientation: int):
    encoded = encode(COLOURS, 'PNG', orientation)
    np.testing.assert_array_equal(decode_image(encoded, 'odd'), COLOURS)


def test_damaged_exif_data_count_as_upright():
    encoded = encode(COLOURS, exif=b'Exif\0\0II*\0\xff\xff\xff\xff')
    np.testing.assert_array_equal(decode_image(encoded, 'odd'), COLOURS)


@pytest.mark.parametrize('orientation', [1, 3, 6])
@pytest.mark.parametrize('format', ['PNG', 'TIFF'])
def test_thermal_file_is_stretched_as_a_thermal_message_is(format: str, orientation: int):
    encoded = encode(THERMAL, format, orientation)
    upright = UPRIGHT[orientation](THERMAL)
    stored = decode_stored(encoded, 'thermal')
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored, upright)
    np.testing.assert_array_equal(decode_image(encoded, 'thermal'), as_rgb(to_8bit(stored)))
    assert np.ptp(decode_image(encoded, 'thermal')) == 255


def test_thermal_pgm():
    encoded = cv2.imencode('.pgm', THERMAL)[1].tobytes()
    np.testing.assert_array_equal(decode_stored(encoded, 'thermal.pgm'), THERMAL)


def test_sixteen_bit_colours_keep_their_upper_bits():
    wide = COLOURS.astype(np.uint16) << 8 | 0x55
    encoded = cv2.imencode('.png', wide[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(decode_image(encoded, 'wide'), COLOURS)


@pytest.mark.parametrize(
    ('mode', 'expected'),
    [
        ('1', as_rgb(np.where(GREY >= 128, 255, 0).astype(np.uint8))),
        ('LA', as_rgb(GREY)),
        ('P', COLOURS),
        ('RGBA', COLOURS),
    ],
)
def test_palette_transparency_and_one_bit(mode: str, expected):
    image = Image.fromarray(GREY if mode in ('1', 'LA') else COLOURS)
    if mode == '1':
        image = image.point(lambda value: 255 * (value >= 128), '1')
    elif mode == 'P':
        image = image.quantize(4)
    else:
        image = image.convert(mode)
        image.putalpha(10)
    encoded = encode(image)
    np.testing.assert_array_equal(decode_image(encoded, mode), expected)


def test_cmyk_jpeg():
    encoded = encode(Image.fromarray(COLOURS).convert('CMYK'), 'JPEG', **SAVE['JPEG'])
    image = decode_image(encoded, 'print.jpg')
    assert np.abs(image.astype(int) - COLOURS).max() <= 2 * LOSSY


def test_float_and_32_bit_images_are_refused():
    for dtype in (np.float32, np.int32):
        encoded = encode(Image.fromarray(np.ones((4, 6), dtype)), 'TIFF')
        with pytest.raises(ImageFileError, match=r"'a\.tif': expected 8 or 16 bits a channel"):
            decode_image(encoded, 'a.tif')


def test_other_formats_are_refused():
    with pytest.raises(ImageFileError, match='not an image'):
        decode_image(encode(GREY, 'GIF'), 'a.gif')


@pytest.mark.parametrize('share', [0.3, 0.6, 0.95])
@pytest.mark.parametrize('format', SAVE)
def test_cut_files_are_refused(format: str, share: float):
    noise = np.random.default_rng(0).integers(0, 255, (40, 64, 3), np.uint8)
    encoded = encode(noise, format, **SAVE[format])
    with pytest.raises(ImageFileError, match="'cut'"):
        decode_image(encoded[: int(share * len(encoded))], 'cut')


def test_end_of_a_thumbnail_is_not_the_end_of_the_jpeg():
    noise = np.random.default_rng(0).integers(0, 255, (40, 64, 3), np.uint8)
    encoded = encode(noise, 'JPEG')
    thumbnail = b'Exif\0\0' + encode(GREY, 'JPEG')
    segment = b'\xff\xe1' + struct.pack('>H', len(thumbnail) + 2) + thumbnail
    encoded = encoded[:2] + segment + encoded[2:]
    assert decode_image(encoded, 'whole').shape == noise.shape
    with pytest.raises(ImageFileError, match='cut short'):
        decode_image(encoded[:-200], 'cut')


def test_huge_files_are_not_read(tmp_path: Path):
    path = tmp_path / 'huge.png'
    with path.open('wb') as file:
        file.truncate(2**32)
    with pytest.raises(ImageFileError, match="'.*huge.png': expected at most .* bytes"):
        read_image(path)


def test_huge_images_are_refused_by_their_header():
    side = 1 + int(MAX_PIXELS**0.5)
    for width, height in ((side, side), (30000, 30000), (2**31 - 1, 2**31 - 1)):
        with pytest.raises(ImageFileError, match=f'expected.*{MAX_PIXELS} pixels'):
            read_image_size(png_header(width, height), 'bomb.png')
        with pytest.raises(ImageFileError, match="'bomb.png': expected"):
            decode_image(png_header(width, height), 'bomb.png')


def test_png_chunks_longer_than_the_file_are_refused(monkeypatch: pytest.MonkeyPatch):
    encoded = bytearray(encode(GREY))
    assert encoded[37:41] == b'IDAT'
    encoded[33:37] = struct.pack('>I', 2**31)
    monkeypatch.setattr('cv2.imdecode', lambda *_: pytest.fail('OpenCV 5 allocates 2 GB'))
    with pytest.raises(ImageFileError, match='damaged chunk'):
        decode_image(bytes(encoded), 'bomb.png')


def tiff(*extra: tuple[int, int], width: int = 64, height: int = 48) -> bytes:
    """A grey TIFF of 9s, in one strip unless tiles are asked for."""
    entries = [
        (0x100, width), (0x101, height), (0x102, 8), (0x103, 1), (0x106, 1),
        (0x115, 1), *extra,
    ]  # fmt: skip
    tags = [tag for tag, _ in entries]
    where, size = (0x144, 0x145) if 0x142 in tags else (0x111, 0x117)
    num_bytes = width * height
    entries = sorted([*entries, (where, 8), (size, num_bytes)], key=lambda entry: entry[0])
    fields = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in entries)
    start = struct.pack('<2sHI', b'II', 42, 8 + num_bytes)
    return start + b'\t' * num_bytes + struct.pack('<H', len(entries)) + fields + bytes(4)


@pytest.mark.parametrize(
    'extra', [(), [(0x116, 48)], [(0x116, 2**32 - 1)], [(0x142, 64), (0x143, 48)]]
)
def test_strips_and_tiles_of_tiff(extra):
    np.testing.assert_array_equal(decode_image(tiff(*extra), 'a.tif'), np.full((48, 64, 3), 9))


@pytest.mark.parametrize(
    ('extra', 'words'),
    [
        ([(0x142, 16000), (0x143, 16000)], 'expected TIFF tiles of 1 to .* got 16000x16000'),
        ([(0x142, 64), (0x143, 2**30)], 'expected TIFF tiles of 1 to .* got 64x1073741824'),
        ([(0x142, 0), (0x143, 16)], 'expected TIFF tiles of 1 to .* got 0x16'),
        ([(0x142, 16000)], 'header is damaged'),
        ([(0x142, 64), (0x143, 48), (0x143, 16000)], 'gives its size twice'),
        ([(0x100, 16000)], 'gives its size twice'),
    ],
    ids=['square', 'high', 'empty', 'no height', 'two heights', 'two widths'],
)
def test_tiff_tiles_far_larger_than_the_image_are_refused(extra, words, monkeypatch):
    monkeypatch.setattr('cv2.imdecode', lambda *_: pytest.fail('OpenCV allocates up to 1 GB'))
    with pytest.raises(ImageFileError, match=words):
        read_image_size(tiff(*extra), 'bomb.tif')
    with pytest.raises(ImageFileError, match=words):
        decode_image(tiff(*extra), 'bomb.tif')


def test_tiff_of_very_many_channels_is_refused():
    image = Image.open(BytesIO(encode(GREY, 'TIFF')))
    tags = dict(image.tag_v2) | {0x115: 9}
    with pytest.raises(ImageFileError, match='expected a TIFF of 1 to 8 channels, got 9'):
        _check_tiff_layout(tags, BytesIO(encode(GREY, 'TIFF')), 'a.tif')


@pytest.mark.parametrize('big', [False, True])
def test_tiff_of_pillow_is_read_in_every_version(big):
    encoded = encode(COLOURS, 'TIFF', big_tiff=big)
    np.testing.assert_array_equal(decode_image(encoded, 'a.tif'), COLOURS)


@pytest.mark.parametrize('size', [(MAX_IMAGE_SIDE + 1, 2), (2, MAX_IMAGE_SIDE + 1)])
def test_sides_that_the_detector_refuses_are_refused_by_the_header(size):
    words = 'expected sides of 1 to {} pixels, got {}x{}'.format(MAX_IMAGE_SIDE, *size)
    with pytest.raises(ImageFileError, match=words):
        read_image_size(png_header(*size), 'long.png')
    with pytest.raises(ImageFileError, match=words):
        decode_image(encode(np.zeros(size[::-1], np.uint8)), 'long.png')


def test_the_longest_side():
    longest = np.zeros((2, MAX_IMAGE_SIDE), np.uint8)
    assert decode_image(encode(longest), 'long.png').shape == (2, MAX_IMAGE_SIDE, 3)


def test_bytes_after_the_end_of_a_png_do_not_matter():
    np.testing.assert_array_equal(decode_image(encode(GREY) + b'more', 'a.png'), as_rgb(GREY))


def test_other_size_than_annotated_is_refused_before_decoding():
    # Without pixels: had it been decoded, the message would be another.
    with pytest.raises(ImageFileError, match='expected 64x48 pixels as annotated, got 8000x6000'):
        decode_image(png_header(8000, 6000), 'big.png', size=(64, 48))
    assert decode_image(encode(GREY), 'right', size=(64, 40)).shape == (40, 64, 3)


def test_names_are_safe_to_show():
    with pytest.raises(ImageFileError) as caught:
        decode_image(b'', 'a\n[FATAL]\x1b[31m' + 'x' * 10**6)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    assert caught.value.reason == 'not an image, or damaged'


def test_an_image_of_one_pixel():
    np.testing.assert_array_equal(decode_image(encode(GREY[:1, :1]), 'dot'), [[[200, 200, 200]]])
