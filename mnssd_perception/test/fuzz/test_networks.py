"""Networks that are corrupt or forged, in bundles with valid digests."""

from collections.abc import Callable
from functools import lru_cache
import os
from pathlib import Path
import re
from typing import Any

from fuzzing import corrupt_bytes, fuzz_settings, refusal
from hypothesis import given
from hypothesis import strategies as st
from mnssd_perception.bundle import Bundle, open_bundle, shipped_bundle_path
from mnssd_perception.engines import EngineOptions
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
import numpy as np
import pytest

pytest.importorskip('onnxruntime')
onnx = pytest.importorskip('onnx')

SIZE = 1 << 60
SHAPE_ERRORS = 'ShapeInferenceError|shape inference|merge shape info'


@lru_cache
def shipped() -> tuple[Bundle, bytes]:
    bundle = open_bundle(shipped_bundle_path())
    artefact = bundle.artefact('onnxruntime')
    assert artefact is not None
    return bundle, bundle.read(artefact.path)


def infer(model: bytes, folder: str = '/') -> None:
    """Run a network on an image, from a working folder; assert that its heads are valid."""
    os.chdir(folder)
    spec = shipped()[0].manifest.spec
    engine = OnnxRuntimeEngine(spec, model, EngineOptions(1), 'fp32')
    try:
        heads = engine.infer(np.zeros((*spec.input_size, 3), np.uint8))
    finally:
        engine.close()
    assert heads.logits.shape == (spec.num_priors, spec.num_classes + 1)
    assert np.isfinite(heads.logits).all()
    assert np.isfinite(heads.offsets).all()


def test_valid_network_is_accepted() -> None:
    assert not refusal(infer, shipped()[1])


@fuzz_settings(0.5)
@given(data=st.data())
def test_corrupt_network_is_refused_or_returns_valid_heads(data: st.DataObject) -> None:
    refusal(infer, data.draw(corrupt_bytes(shipped()[1])))


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
    dtype = onnx.TensorProto.FLOAT
    model.graph.value_info.append(onnx.helper.make_tensor_value_info('huge', dtype, [1, 1]))


def stretch(model: Any) -> None:
    """Let a pyramid resize to a map of 64 GB."""
    node = next(node for node in model.graph.node if node.op_type == 'Resize')
    sizes = next(each for each in model.graph.initializer if each.name == node.input[3])
    huge = np.array([1, 1 << 10, 1 << 12, 1 << 12])
    sizes.CopyFrom(onnx.numpy_helper.from_array(huge, sizes.name))


# Forgery -> what changes the model, and what the message tells of a check before the inference.
FORGERIES: dict[str, tuple[Callable[[Any], object], str]] = {
    'nan': (lambda model: poison(model, float('nan')), ''),
    'infinity': (lambda model: poison(model, float('inf')), ''),
    'external data': (lambda model: use_external_data(model, 'weights.bin'), ''),
    'system file': (lambda model: use_external_data(model, '/etc/passwd'), ''),
    'file above': (lambda model: use_external_data(model, '../../etc/passwd'), ''),
    'huge initializer': (lambda model: model.graph.initializer[0].dims.extend([SIZE]), ''),
    'huge tensor': (fill, "op type 'ConstantOfShape' is not supported"),
    'huge sum': (broadcast, SHAPE_ERRORS),
    'huge map': (stretch, SHAPE_ERRORS),
    'other output': (lambda model: setattr(model.graph.output[0], 'name', 'heads'), ''),
    'cycle': (
        lambda model: model.graph.node[0].input.__setitem__(0, model.graph.node[-1].output[0]),
        '',
    ),
    'no nodes': (lambda model: model.graph.ClearField('node'), ''),
    'unknown operator': (lambda model: setattr(model.graph.node[0], 'op_type', 'Sesame'), ''),
    'newer version': (lambda model: setattr(model, 'ir_version', 99), ''),
}


@pytest.mark.parametrize('name', FORGERIES)
def test_forged_network_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / 'weights.bin').write_bytes(bytes(1 << 20))
    model = onnx.load_model_from_string(shipped()[1])
    forge, message = FORGERIES[name]
    forge(model)
    refused = refusal(infer, model.SerializeToString(), str(tmp_path))
    assert refused
    assert re.search(message, refused)


HIDDEN = b'\xba\x80\x80\x80\x10'  # the graph to a parser that reads 32 bits of a field number


@pytest.mark.parametrize('key', [HIDDEN, b'\xba\x00', b'\xfa\x01'], ids=bytes.hex)
def test_hidden_graph_is_refused(tmp_path: Path, key: bytes) -> None:
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
    message = refusal(infer, content, str(tmp_path))
    assert re.search('field number is longer|unknown field 31', message)
