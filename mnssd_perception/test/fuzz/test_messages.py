"""Image messages and arrays that no sane camera sends."""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from fuzzing import fuzz_settings, refusal
from hypothesis import assume, given
from hypothesis import strategies as st
from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.detector import Detector
from mnssd_perception.encodings import convert, ENCODINGS
from mnssd_perception.engines import EngineOptions, open_engine
from mnssd_perception.overlay import draw_detections
import numpy as np
import pytest

STRANGE = (
    '', 'RGB8', 'rgb8 ', 'jpeg', '32FC1', '64FC4', '8UC', '8UC0', '8UC99', '\0', '%s%n', '../etc',
    'rgb8\n\x1b[31mFATAL', 'x' * 1_000_000, 'nv12', '\N{PILE OF POO}',
)  # fmt: skip
SIDES = st.sampled_from([1, 2, 3, 16, 65, 480])
BAD_SIDES = (0, 32767, 65536, (1 << 32) - 1)
DTYPES = ('i1', 'u2', '>u2', 'i8', 'f2', 'f4', 'f8', 'c8', '?', 'O', 'S3', 'U2', 'M8[s]', 'V3')
SHAPES = (
    (4, 6), (4, 6, 1), (4, 6, 4), (3, 4, 6), (1, 4, 6, 3), (6,), (), (0, 6, 3), (4, 0, 3),
)  # fmt: skip
NO_IMAGES: tuple[Any, ...] = (
    None, 0, 3.5, 'image.jpg', b'', b'\0' * 300, [], [[[0, 0, 0]]], {}, object, Ellipsis,
    np.uint8(3), np.array(None), memoryview(b'123'), bytearray(12),
    *(np.zeros(shape, np.uint8) for shape in SHAPES),
    *(np.zeros((4, 6, 3), dtype) for dtype in DTYPES),
    np.broadcast_to(np.uint8(0), (32769, 1, 3)),
)  # fmt: skip


def num_row_bytes(encoding: str, width: int) -> int:
    return width * ENCODINGS[encoding].num_channels * np.dtype(ENCODINGS[encoding].dtype).itemsize


@st.composite
def messages(draw: st.DrawFn) -> SimpleNamespace:
    """Make the pixel fields of a valid sensor_msgs/Image."""
    encoding = draw(st.sampled_from(sorted(ENCODINGS)))
    height, width = draw(SIDES), draw(SIDES)
    if ENCODINGS[encoding].even:
        height, width = height + height % 2, width + width % 2
    step = num_row_bytes(encoding, width) + draw(st.sampled_from([0, 0, 1, 7, 64]))
    pixel = draw(st.binary(min_size=1, max_size=5))
    return SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        step=step,
        is_bigendian=draw(st.sampled_from([0, 1, 255])),
        data=(pixel * (height * step // len(pixel) + 1))[: height * step],
    )


def read_message(msg: Any) -> None:
    image = convert(msg)
    assert (image.shape, image.dtype) == ((msg.height, msg.width, 3), np.uint8)


@lru_cache
def detector() -> Detector:
    bundle = open_bundle(shipped_bundle_path())
    return Detector(open_engine(bundle, options=EngineOptions(1)), bundle.manifest.thresholds)


def detect(height: int, width: int, view: str, value: int) -> None:
    image = np.full((height, width, 3), value, np.uint8)
    views = {
        'back': image[::-1, ::-1],
        'step': image[:, ::3],
        'turn': image.transpose(1, 0, 2),
        'fortran': np.asfortranarray(image),
        'spread': np.broadcast_to(image[:1, :1], (500, 400, 3)),
    }
    image = views.get(view, image)
    image.flags.writeable = False
    detections = detector().detect(image)
    limits = np.array([*image.shape[1::-1]] * 2)
    assert np.isfinite(detections.boxes).all()
    assert ((detections.boxes >= 0) & (detections.boxes <= limits)).all()
    assert ((detections.scores > 0) & (detections.scores <= 1)).all()
    assert draw_detections(image, detections, detector().class_names).shape == image.shape


def detect_no_image(index: int) -> None:
    detector().detect(NO_IMAGES[index])


@fuzz_settings(5)
@given(msg=messages())
def test_valid_message_is_accepted(msg: SimpleNamespace) -> None:
    assert not refusal(read_message, msg)


@fuzz_settings(5)
@given(msg=messages(), data=st.data())
def test_inconsistent_message_is_refused(msg: SimpleNamespace, data: st.DataObject) -> None:
    way = data.draw(st.sampled_from(['encoding', 'side', 'step', 'length', 'odd']))
    if way == 'encoding':
        msg.encoding = data.draw(st.sampled_from(STRANGE))
    elif way == 'side':
        side = data.draw(st.sampled_from(['height', 'width']))
        setattr(msg, side, data.draw(st.sampled_from(BAD_SIDES)))
    elif way == 'step':
        row = num_row_bytes(msg.encoding, msg.width)
        msg.step = data.draw(st.integers(0, row - 1) | st.sampled_from([1 << 31, (1 << 32) - 1]))
    elif way == 'length':
        length = data.draw(st.sampled_from([0, 1, len(msg.data) - 1, len(msg.data) + 1]))
        assume(length != len(msg.data))
        msg.data = (msg.data + b'\0')[:length]
    else:
        assume(ENCODINGS[msg.encoding].even)
        msg.width -= 1
    assert refusal(read_message, msg)


@fuzz_settings()
@given(
    height=SIDES,
    width=SIDES,
    view=st.sampled_from(['', 'back', 'step', 'turn', 'fortran', 'spread']),
    value=st.integers(0, 255),
)
def test_image_of_any_size_and_layout_is_accepted(
    height: int, width: int, view: str, value: int
) -> None:
    pytest.importorskip('onnxruntime')
    assert not refusal(detect, height, width, view, value)


@pytest.mark.parametrize('index', range(len(NO_IMAGES)))
def test_other_objects_are_refused(index: int) -> None:
    pytest.importorskip('onnxruntime')
    assert refusal(detect_no_image, index)
