"""Image messages and arrays that no sane camera sends."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fuzz_strategies import attempt, fuzz_settings, REFUSED
from hypothesis import assume, given
from hypothesis import strategies as st
from mnssd_perception.bundle import Bundle, open_bundle, shipped_bundle_path
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
THINGS: tuple[Any, ...] = (
    None, 0, 3.5, 'image.jpg', b'', b'\0' * 300, [], [[[0, 0, 0]]], {}, object, Ellipsis,
    np.uint8(3), np.array(None), memoryview(b'123'), bytearray(12),
)  # fmt: skip


@dataclass
class Message:
    """The fields of sensor_msgs/Image that hold pixels."""

    height: int
    width: int
    encoding: str
    step: int
    is_bigendian: int
    data: bytes


def num_row_bytes(encoding: str, width: int) -> int:
    return width * ENCODINGS[encoding].num_channels * np.dtype(ENCODINGS[encoding].dtype).itemsize


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Make a valid message."""
    encoding = draw(st.sampled_from(sorted(ENCODINGS)))
    height, width = draw(SIDES), draw(SIDES)
    if ENCODINGS[encoding].even:
        height, width = height + height % 2, width + width % 2
    step = num_row_bytes(encoding, width) + draw(st.sampled_from([0, 0, 1, 7, 64]))
    pixel = draw(st.binary(min_size=1, max_size=5))
    data = (pixel * (height * step // len(pixel) + 1))[: height * step]
    return Message(height, width, encoding, step, draw(st.sampled_from([0, 1, 255])), data)


@pytest.fixture(scope='module')
def bundle() -> Bundle:
    return open_bundle(shipped_bundle_path())


@pytest.fixture(scope='module')
def detector(bundle: Bundle) -> Iterator[Detector]:
    pytest.importorskip('onnxruntime')
    engine = open_engine(bundle, options=EngineOptions(1))
    yield Detector(engine, bundle.manifest.thresholds)
    engine.close()


@fuzz_settings(5)
@given(msg=messages())
def test_valid_message_is_accepted(msg: Message) -> None:
    image: Any = attempt(lambda: convert(msg))
    assert image is not REFUSED
    assert (image.shape, image.dtype) == ((msg.height, msg.width, 3), np.uint8)


@fuzz_settings(5)
@given(msg=messages(), data=st.data())
def test_message_that_contradicts_itself_is_refused(msg: Message, data: st.DataObject) -> None:
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
    assert attempt(lambda: convert(msg)) is REFUSED


@fuzz_settings()
@given(
    height=SIDES,
    width=SIDES,
    view=st.sampled_from(['', 'back', 'step', 'turn', 'fortran', 'spread']),
    value=st.integers(0, 255),
)
def test_any_image_is_looked_at(
    detector: Detector, height: int, width: int, view: str, value: int
) -> None:
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
    detections: Any = attempt(lambda: detector.detect(image))
    assert detections is not REFUSED
    limits = np.array([*image.shape[1::-1]] * 2)
    assert np.isfinite(detections.boxes).all()
    assert ((detections.boxes >= 0) & (detections.boxes <= limits)).all()
    assert ((detections.scores > 0) & (detections.scores <= 1)).all()
    drawn = draw_detections(image, detections, detector.class_names)
    assert drawn.shape == image.shape


@fuzz_settings(5)
@given(data=st.data())
def test_what_is_no_image_is_refused(detector: Detector, data: st.DataObject) -> None:
    shapes = (
        (4, 6),
        (4, 6, 1),
        (4, 6, 4),
        (3, 4, 6),
        (1, 4, 6, 3),
        (6,),
        (),
        (0, 6, 3),
        (4, 0, 3),
    )
    thing = data.draw(
        st.sampled_from(THINGS)
        | st.sampled_from(shapes).map(lambda shape: np.zeros(shape, np.uint8))
        | st.sampled_from(DTYPES).map(lambda dtype: np.zeros((4, 6, 3), dtype))
        | st.just(np.broadcast_to(np.uint8(0), (32769, 1, 3)))
    )
    assert attempt(lambda: detector.detect(thing)) is REFUSED
