"""What is trained and scored on is what flies: each kind of file through every reader."""

from collections.abc import Callable
from pathlib import Path
import struct
from typing import Any
import zlib

import cv2
from mnssd_perception.image_file import read_image, read_image_size
from mnssd_perception.sources.folder import FolderSource
from mnssd_perception.thermal import to_8bit
from mnssd_training.cli.frames import open_frames
from mnssd_training.data.sample import load_image, read_header_size, Sample
from mnssd_training.errors import DatasetError
import numpy as np
from PIL import Image
import pytest

ORIENTATION, QUARTER_TURN = 0x0112, 6
WIDTH, HEIGHT = 70, 40

COLOURS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
GREY = COLOURS[..., 0].copy()
THERMAL = (29_000 + 2 * GREY.astype(np.uint16)).astype(np.uint16)


def pillow(pixels: np.ndarray, mode: str | None = None) -> Image.Image:
    image = Image.fromarray(pixels)
    return image.convert(mode) if mode else image


# Name of the file -> what is in it, and whether it lies on its side.
FILES: dict[str, tuple[Image.Image, bool]] = {
    'colour.bmp': (pillow(COLOURS), False),
    'colour.jpg': (pillow(COLOURS), False),
    'colour.png': (pillow(COLOURS), False),
    'colour.ppm': (pillow(COLOURS), False),
    'colour.tif': (pillow(COLOURS), False),
    'colour.webp': (pillow(COLOURS), False),
    'cmyk.jpg': (pillow(COLOURS, 'CMYK'), False),
    'grey.bmp': (pillow(GREY), False),
    'grey.jpg': (pillow(GREY), False),
    'grey.pgm': (pillow(GREY), False),
    'grey.png': (pillow(GREY), False),
    'grey.tif': (pillow(GREY), False),
    'palette.png': (pillow(COLOURS, 'P'), False),
    'thermal.png': (pillow(THERMAL), False),
    'thermal.tif': (pillow(THERMAL), False),
    'transparent.png': (pillow(COLOURS, 'RGBA'), False),
    'transparent_grey.png': (pillow(GREY, 'LA'), False),
    'turned.jpg': (pillow(COLOURS), True),
    'turned.png': (pillow(COLOURS), True),
    'turned.tif': (pillow(COLOURS), True),
    'turned.webp': (pillow(COLOURS), True),
    'turned_thermal.png': (pillow(THERMAL), True),
    'turned_thermal.tif': (pillow(THERMAL), True),
}


@pytest.fixture(params=FILES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    image, is_turned = FILES[request.param]
    options: dict[str, Any] = {}
    if is_turned:
        options['exif'] = Image.Exif()
        options['exif'][ORIENTATION] = QUARTER_TURN
    image.save(tmp_path / request.param, **options)
    return tmp_path / request.param


def sample_of(path: Path, make_sample: Callable[..., Sample]) -> Sample:
    """Annotate an image by its header, as readers of datasets do."""
    width, height = read_image_size(path)
    return make_sample(path=path, size=(height, width))


def test_header_size_equals_decoded_size(path: Path, make_sample: Callable[..., Sample]) -> None:
    is_turned = path.stem.startswith('turned')
    size = (WIDTH, HEIGHT) if is_turned else (HEIGHT, WIDTH)
    sample = sample_of(path, make_sample)
    assert sample.size == load_image(sample).shape[:2] == size


def test_evaluation_and_camera_node_decode_the_same_pixels(
    path: Path, make_sample: Callable[..., Sample]
) -> None:
    pytest.importorskip('rclpy')
    from mnssd_perception.ros.images import from_bgr, to_rgb
    from std_msgs.msg import Header

    scored = load_image(sample_of(path, make_sample))
    [frame] = FolderSource(path)  # of the camera node
    message = from_bgr(frame.image, Header())
    np.testing.assert_array_equal(to_rgb(message), scored)
    if 'thermal' in path.stem:
        assert message.encoding == 'mono16'
    if message.encoding != 'bgr8':  # grey in colours is the same grey
        for encoding in ('bgr8', 'rgb8', 'mono8'):
            converted = to_rgb(from_bgr(frame.image, Header(), encoding))
            np.testing.assert_array_equal(converted, scored)


def test_evaluation_and_predict_decode_the_same_pixels(
    path: Path, make_sample: Callable[..., Sample]
) -> None:
    scored = load_image(sample_of(path, make_sample))
    [frame] = open_frames(str(path), None, print).frames
    np.testing.assert_array_equal(frame.image, scored)
    np.testing.assert_array_equal(read_image(path), scored)


def test_thermal_image_is_stretched_to_8_bit(tmp_path: Path) -> None:
    pillow(THERMAL).save(tmp_path / 'thermal.png')
    image = read_image(tmp_path / 'thermal.png')
    assert (image.min(), image.max()) == (0, 255)
    np.testing.assert_array_equal(image, np.dstack([to_8bit(THERMAL)] * 3))


def test_image_with_another_size_than_annotated_is_not_decoded(
    tmp_path: Path, make_sample: Callable[..., Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    pillow(COLOURS).save(tmp_path / 'image.png')
    monkeypatch.setattr('cv2.imdecode', lambda *_: pytest.fail('it was decoded'))
    with pytest.raises(DatasetError, match='expected 48x64 pixels as annotated, got 70x40'):
        load_image(make_sample(path=tmp_path / 'image.png', size=(64, 48)))


# --- sizes from headers ----------------------------------------------------------------------


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'bmp', 'tif', 'webp'])
def test_header_size_equals_size_decoded_by_opencv(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f'image.{suffix}'
    cv2.imwrite(str(path), np.zeros((17, 31, 3), np.uint8))
    assert read_header_size(path) == read_image(path).shape[:2] == (17, 31)


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp'])
@pytest.mark.parametrize('orientation', range(10))
def test_header_size_respects_exif_orientation(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f'upright.{suffix}'
    Image.new('RGB', (31, 17)).save(path, exif=exif)
    assert read_header_size(path) == read_image(path).shape[:2]
    assert read_header_size(path) == ((31, 17) if orientation in (5, 6, 7, 8) else (17, 31))


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
    ('content', 'reason'),
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
def test_damaged_header_is_refused(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / 'image.png'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=reason) as caught:
        read_header_size(path)
    assert caught.value.path == path


@pytest.mark.parametrize('name', ['nul\0', 'x' * 300, '.'])
def test_invalid_image_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match='cannot read the image|not an image|header is damaged'):
        read_header_size(tmp_path / name)
