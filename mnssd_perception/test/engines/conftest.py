"""
Tiny ONNX networks, written byte by byte so that the onnx package is not needed.

Field numbers are those of onnx.proto; see https://protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
import sys
from types import ModuleType

from fake_cuda import FakeCudart
from fake_tensorrt import make_tensorrt, VERSIONS
from mnssd_perception.bundle import (
    Artefact,
    Bundle,
    file_entries,
    Manifest,
    open_bundle,
    write_bundle,
)
from mnssd_perception.engines import cuda, EngineOptions
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
from mnssd_perception.ssd import FeatureMap, ModelSpec, prior_digest
import numpy as np
import pytest

FLOAT, UINT8, INT64, FLOAT16 = 1, 2, 7, 10

# 4 x 8 pixels of three colours are as many numbers as 24 priors of four columns.
SPEC = ModelSpec((4, 8), ('a', 'b', 'c'), (FeatureMap((4, 6), (1.0, 1.5), ((2.0, 2.0),)),))
FACTORS = (1.0, 0.25, -1.0, 2.0)


@dataclass(frozen=True)
class Network:
    """
    What a tiny network looks like; the defaults follow the contract of :data:`SPEC`.

    Logits are the pixels as (24, 4), offsets the same times ``factors``.
    """

    image: str = 'image'
    image_type: int = UINT8
    image_shape: tuple[int | str, ...] = (4, 8, 3)
    logits: str = 'logits'
    logits_type: int = FLOAT
    logits_shape: tuple[int | str, ...] = (24, 4)
    offsets: str = 'offsets'
    offsets_shape: tuple[int | str, ...] = (24, 4)
    factors: tuple[float, ...] = FACTORS
    third_output: bool = False
    ir_version: int = 8
    external_factors: str = ''  # the file that holds the factors

    def serialise(self) -> bytes:
        """Write the network as an ONNX file."""
        # 0 takes the dimension of the input
        shape = np.array([d if isinstance(d, int) else 0 for d in self.logits_shape], np.int64)
        nodes = [
            _node('Cast', [self.image], ['numbers'], _text(1, 'to') + _number(3, FLOAT) + _INT),
            _node('Reshape', ['numbers', 'shape'], ['columns']),
            _node('Cast', ['columns'], [self.logits],
                  _text(1, 'to') + _number(3, self.logits_type) + _INT),
            _node('Mul', ['columns', 'factors'], [self.offsets]),
        ]  # fmt: skip
        outputs = [
            _value(self.logits, self.logits_type, self.logits_shape),
            _value(self.offsets, FLOAT, self.offsets_shape),
        ]
        if self.third_output:
            nodes.append(_node('Relu', ['columns'], ['gate']))
            outputs.append(_value('gate', FLOAT, self.offsets_shape))
        graph = b''.join(_field(1, node) for node in nodes) + _text(2, 'tiny')
        graph += _field(5, _tensor('shape', INT64, shape))
        factors = np.array(self.factors, np.float32)
        if self.external_factors:
            entry = _text(1, 'location') + _text(2, self.external_factors)
            lead = _number(1, len(factors)) + _number(2, FLOAT) + _text(8, 'factors')
            graph += _field(5, lead + _field(13, entry) + _number(14, 1))
        else:
            graph += _field(5, _tensor('factors', FLOAT, factors))
        graph += _field(11, _value(self.image, self.image_type, self.image_shape))
        graph += b''.join(_field(12, output) for output in outputs)
        graph += _field(13, _value('numbers', FLOAT, self.image_shape))
        graph += _field(13, _value('columns', FLOAT, self.logits_shape))
        return _number(1, self.ir_version) + _field(8, _number(2, 13)) + _field(7, graph)


_INT = b'\xa0\x01\x02'  # field 20 of an attribute: its type is INT


def _varint(value: int) -> bytes:
    """Write a number seven bits at a time."""
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _field(field, text.encode())


def _node(kind: str, inputs: list[str], outputs: list[str], attribute: bytes = b'') -> bytes:
    names = b''.join(_text(1, name) for name in inputs)
    names += b''.join(_text(2, name) for name in outputs)
    return names + _text(4, kind) + (_field(5, attribute) if attribute else b'')


def _value(name: str, kind: int, shape: tuple[int | str, ...]) -> bytes:
    sides = b''.join(
        _field(1, _number(1, side) if isinstance(side, int) else _text(2, side)) for side in shape
    )
    return _text(1, name) + _field(2, _field(1, _number(1, kind) + _field(2, sides)))


def _tensor(name: str, kind: int, array: np.ndarray) -> bytes:
    sides = b''.join(_number(1, side) for side in array.shape)
    return sides + _number(2, kind) + _text(8, name) + _field(9, array.tobytes())


@pytest.fixture
def network() -> type[Network]:
    """Describe a tiny network."""
    return Network


@pytest.fixture
def batch_network() -> bytes:
    """Make the tiny network for any number of images."""
    shapes = ('batch', 24, 4)
    return Network(
        image_shape=('batch', 4, 8, 3), logits_shape=shapes, offsets_shape=shapes
    ).serialise()


@pytest.fixture
def spec() -> ModelSpec:
    """Specify what the tiny network should be."""
    return SPEC


@pytest.fixture
def factors() -> np.ndarray:
    """Tell the factors between logits and offsets of the tiny network."""
    return np.array(FACTORS, np.float32)


@pytest.fixture
def bundle_of(tmp_path: Path) -> Callable[..., Bundle]:
    """Make a bundle of some content."""

    def make(content: bytes, engine: str = 'onnxruntime') -> Bundle:
        files = {'network.onnx': content}
        manifest = Manifest(
            schema=1,
            name='tiny',
            version='1',
            spec=SPEC,
            num_priors=SPEC.num_priors,
            prior_digest=prior_digest(SPEC),
            files=file_entries(files),
            artefacts=(Artefact('network.onnx', engine, 'fp32'),),
        )
        write_bundle(tmp_path / 'tiny.mnssd', manifest, files)
        return open_bundle(tmp_path / 'tiny.mnssd')

    return make


@pytest.fixture
def engine() -> Iterator[OnnxRuntimeEngine]:
    """Run the tiny network."""
    pytest.importorskip('onnxruntime')
    made = OnnxRuntimeEngine(SPEC, Network().serialise(), EngineOptions(threads=1), 'fp32')
    yield made
    made.close()


@pytest.fixture
def cudart(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCudart]:
    """Offer a GPU, whose calls must all be right."""
    made = FakeCudart()
    monkeypatch.setattr(cuda, 'load_libraries', lambda: iter([made]))
    yield made
    assert made.crashes == []


@pytest.fixture(params=VERSIONS)
def tensorrt(
    request: pytest.FixtureRequest, cudart: FakeCudart, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    """Install TensorRT, in each version."""
    pytest.importorskip('onnxruntime')
    made = make_tensorrt(request.param, cudart)
    monkeypatch.setitem(sys.modules, 'tensorrt', made)
    return made
