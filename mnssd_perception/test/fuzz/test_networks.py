"""Networks that are damaged or forged, in bundles whose digests fit."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from fuzz_strategies import attempt, damaged_bytes, fuzz_settings, REFUSED
from hypothesis import given
from hypothesis import strategies as st
from mnssd_perception.bundle import Bundle, open_bundle, shipped_bundle_path
from mnssd_perception.engines import EngineOptions
from mnssd_perception.engines.onnx_check import check_onnx
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
from mnssd_perception.errors import EngineError
import numpy as np
import pytest

pytest.importorskip('onnxruntime')
onnx = pytest.importorskip('onnx')

SIZE = 1 << 40


@lru_cache
def shipped() -> tuple[Bundle, bytes]:
    bundle = open_bundle(shipped_bundle_path())
    artefact = bundle.artefact('onnxruntime')
    assert artefact is not None
    return bundle, bundle.read(artefact.path)


def run(model: bytes) -> Any:
    """Load a network and look at one image; return its heads, or REFUSED."""

    def call() -> Any:
        spec = shipped()[0].manifest.spec
        engine = OnnxRuntimeEngine(spec, model, EngineOptions(1), 'fp32')
        try:
            return engine.infer(np.zeros((*spec.input_size, 3), np.uint8))
        finally:
            engine.close()

    return attempt(call)


def test_sound_network_is_accepted() -> None:
    assert run(shipped()[1]) is not REFUSED


@fuzz_settings(0.5)
@given(data=st.data())
def test_damaged_network_is_refused_or_returns_finite_heads(data: st.DataObject) -> None:
    heads = run(data.draw(damaged_bytes(shipped()[1])))
    if heads is not REFUSED:
        spec = shipped()[0].manifest.spec
        assert heads.logits.shape == (spec.num_priors, spec.num_classes + 1)
        assert np.isfinite(heads.logits).all()
        assert np.isfinite(heads.offsets).all()


def poison(model: Any, value: float) -> None:
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1:
            array = np.full(tuple(tensor.dims), value, np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def use_external_data(model: Any, location: str) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField('raw_data')
    tensor.ClearField('float_data')
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key='location', value=location)


def inflate(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.dims[:] = [SIZE, SIZE]


def fill(model: Any) -> None:
    """Add a node that makes a tensor of 32 GB."""
    shape = onnx.numpy_helper.from_array(np.array([1 << 33]), 'huge_shape')
    model.graph.initializer.append(shape)
    model.graph.node.append(onnx.helper.make_node('ConstantOfShape', ['huge_shape'], ['huge']))
    model.graph.node.append(onnx.helper.make_node('ReduceSum', ['huge'], ['sum'], keepdims=0))
    logits = next(node for node in model.graph.node if 'logits' in node.output)
    logits.output[list(logits.output).index('logits')] = 'before'
    model.graph.node.append(onnx.helper.make_node('Add', ['before', 'sum'], ['logits']))


def broadcast(model: Any) -> None:
    """Add a node that makes a tensor of 40 GB from two of 400 kB, and declare a small one."""
    names, sides = ('column', 'row'), ((100_000, 1), (1, 100_000))
    for name, shape in zip(names, sides):
        array = np.zeros(shape, np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    model.graph.node.append(onnx.helper.make_node('Add', names, ['huge']))
    kind = onnx.TensorProto.FLOAT
    model.graph.value_info.append(onnx.helper.make_tensor_value_info('huge', kind, [1, 1]))


def stretch(model: Any) -> None:
    """Let a pyramid resize to a map of 64 GB."""
    node = next(node for node in model.graph.node if node.op_type == 'Resize')
    sizes = next(each for each in model.graph.initializer if each.name == node.input[3])
    huge = np.array([1, 1 << 10, 1 << 12, 1 << 12])
    sizes.CopyFrom(onnx.numpy_helper.from_array(huge, sizes.name))


def rename(model: Any) -> None:
    model.graph.output[0].name = 'heads'


def cycle(model: Any) -> None:
    model.graph.node[0].input[0] = model.graph.node[-1].output[0]


FORGERIES: dict[str, Callable[[Any], None]] = {
    'nan': lambda model: poison(model, float('nan')),
    'infinity': lambda model: poison(model, float('inf')),
    'external data': lambda model: use_external_data(model, 'weights.bin'),
    'external data of others': lambda model: use_external_data(model, '/etc/passwd'),
    'external data above': lambda model: use_external_data(model, '../../etc/passwd'),
    'a huge initialiser': inflate,
    'a huge tensor': fill,
    'a huge sum': broadcast,
    'a huge map': stretch,
    'another output': rename,
    'a cycle': cycle,
    'no nodes': lambda model: model.graph.ClearField('node'),
    'an unknown operator': lambda model: setattr(model.graph.node[0], 'op_type', 'Sesame'),
    'a newer version': lambda model: setattr(model, 'ir_version', 99),
}


@pytest.mark.parametrize('name', FORGERIES)
def test_forged_network_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'weights.bin').write_bytes(bytes(1 << 20))
    model = onnx.load_model_from_string(shipped()[1])
    FORGERIES[name](model)
    assert run(model.SerializeToString()) is REFUSED


def test_a_huge_tensor_is_refused_before_it_is_made() -> None:
    # Without a limit of memory: by the check itself.
    model = onnx.load_model_from_string(shipped()[1])
    fill(model)
    with pytest.raises(EngineError, match="op type 'ConstantOfShape' is not supported"):
        check_onnx(model.SerializeToString())


@pytest.mark.parametrize('name', ['a huge sum', 'a huge map'])
def test_a_tensor_that_is_larger_than_declared_is_refused_before_it_is_made(name: str) -> None:
    bundle, content = shipped()
    model = onnx.load_model_from_string(content)
    FORGERIES[name](model)
    with pytest.raises(EngineError, match=r'ShapeInferenceError|shape inference|merge shape info'):
        OnnxRuntimeEngine(bundle.manifest.spec, model.SerializeToString(), EngineOptions(1))


HIDDEN = b'\xba\x80\x80\x80\x10'  # the graph to a parser, which reads 32 bits of a field number


@pytest.mark.parametrize('key', [HIDDEN, b'\xba\x00', b'\xfa\x01'], ids=bytes.hex)
def test_a_hidden_graph_is_refused(
    key: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    model = onnx.load_model_from_string(shipped()[1])
    (tmp_path / 'weights.bin').write_bytes(model.graph.initializer[0].raw_data)
    use_external_data(model, 'weights.bin')
    graph = model.graph.SerializeToString()
    model.ClearField('graph')
    length = b''
    number = len(graph)
    while number > 0x7F:
        length += bytes([number & 0x7F | 0x80])
        number >>= 7
    content = model.SerializeToString() + key + length + bytes([number]) + graph
    assert run(content) is REFUSED
    with pytest.raises(EngineError, match='field number is longer|unknown field 31'):
        check_onnx(content)
