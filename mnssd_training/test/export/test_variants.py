"""The other forms of an exported network, against the network in PyTorch."""

from collections import Counter
import io
from typing import Any

from mnssd_perception.engines import open_onnx
from mnssd_perception.engines.onnx_check import check_onnx
from mnssd_perception.ssd import generate_priors, ModelSpec
from mnssd_training.errors import ExportError
from mnssd_training.export import convert_to_fp16, export_batch, export_decoded
from mnssd_training.export.onnx import SPEC_KEY
from mnssd_training.export.variants import DecodedNetwork
from mnssd_training.model import MobileNetSsd, TorchEngine
import numpy as np
from numpy.typing import NDArray
import onnx
import onnxruntime
import pytest
import torch

FLOAT, FLOAT16, UINT8 = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.UINT8,
)


@pytest.fixture(scope='module')
def batch(model: MobileNetSsd) -> bytes:
    return export_batch(model)


@pytest.fixture(scope='module')
def decoded(model: MobileNetSsd) -> DecodedNetwork:
    return export_decoded(model)


@pytest.fixture
def images(spec: ModelSpec) -> NDArray[np.uint8]:
    generator = np.random.default_rng(3)
    return generator.integers(0, 256, (3, *spec.input_size, 3), np.uint8)


def run(network: bytes, images: NDArray[Any]) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(network, providers=['CPUExecutionProvider'])
    return list(session.run(None, {session.get_inputs()[0].name: images}))


def run_torch(model: MobileNetSsd, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    with torch.no_grad():
        return [head.numpy() for head in model(torch.from_numpy(images))]


def described(value: onnx.ValueInfoProto) -> tuple[str, int, list[int | str]]:
    tensor = value.type.tensor_type
    return value.name, tensor.elem_type, [d.dim_value or d.dim_param for d in tensor.shape.dim]


def described_io(network: bytes) -> list[tuple[str, int, list[int | str]]]:
    graph = onnx.load_from_string(network).graph
    return [described(value) for value in (*graph.input, *graph.output)]


def batch_io(spec: ModelSpec) -> list[tuple[str, int, list[int | str]]]:
    return [
        ('image', UINT8, ['batch', *spec.input_size, 3]),
        ('logits', FLOAT, ['batch', spec.num_priors, spec.num_classes + 1]),
        ('offsets', FLOAT, ['batch', spec.num_priors, 4]),
    ]


def check_shapes_declared(network: bytes) -> None:
    """Check that each tensor has a shape, of which only the first dimension may be dynamic."""
    graph = onnx.load_from_string(network).graph
    shapes = {name: sides for name, _, sides in map(described, (*graph.value_info, *graph.output))}
    for node in graph.node:
        for name in node.output:
            assert all(isinstance(side, int) and side > 0 for side in shapes[name][1:]), name
            assert shapes[name][0] == 'batch', name


# --- batch -------------------------------------------------------------------------------------


def test_batch_names_shapes_and_types(batch: bytes, spec: ModelSpec) -> None:
    assert described_io(batch) == batch_io(spec)
    proto = onnx.load_from_string(batch)
    onnx.checker.check_model(proto, full_check=True)
    assert [entry.key for entry in proto.metadata_props] == [SPEC_KEY]
    assert proto.ir_version == 8
    check_shapes_declared(batch)


def test_batch_computes_no_shapes(batch: bytes) -> None:
    graph = onnx.load_from_string(batch).graph
    operators = Counter(node.op_type for node in graph.node)
    assert operators['Shape'] == 0
    assert operators['Resize'] == 2
    used = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= used


@pytest.mark.parametrize('num', [1, 2, 3])
def test_batch_equals_pytorch(
    batch: bytes, model: MobileNetSsd, images: NDArray[np.uint8], num: int
) -> None:
    for head, expected in zip(run(batch, images[:num]), run_torch(model, images[:num])):
        np.testing.assert_allclose(head, expected, atol=1e-5)


def test_batch_export_error_is_explained(
    model: MobileNetSsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError('no such operator')

    monkeypatch.setattr(torch.onnx, 'export', fail)
    for export in (export_batch, export_decoded):
        with pytest.raises(ExportError, match='cannot be exported to ONNX: no such operator'):
            export(model)


# --- float16 -----------------------------------------------------------------------------------


def test_fp16_keeps_inputs_outputs_and_metadata(
    exported: bytes, batch: bytes, spec: ModelSpec
) -> None:
    for network in (exported, batch):
        converted = convert_to_fp16(network)
        assert described_io(converted) == described_io(network)
        before, after = map(onnx.load_from_string, (network, converted))
        assert list(after.metadata_props) == list(before.metadata_props)
        assert (after.ir_version, after.opset_import) == (before.ir_version, before.opset_import)
        assert 0.45 < len(converted) / len(network) < 0.55


def test_fp16_leaves_no_float32_weights(exported: bytes) -> None:
    graph = onnx.load_from_string(convert_to_fp16(exported)).graph
    onnx.checker.check_graph(graph)
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == 'Conv']
    assert convolutions
    for node in convolutions:
        assert {types[name] for name in node.input[1:]} == {FLOAT16}, node.name
    assert sum(node.op_type == 'Cast' for node in graph.node) == 3


def test_fp16_passes_the_check_of_the_drone_and_is_nearly_equal(
    exported: bytes, model: MobileNetSsd, images: NDArray[np.uint8]
) -> None:
    converted = convert_to_fp16(exported)
    check_onnx(converted)
    engine, reference = open_onnx(model.spec, converted, 'onnxruntime'), TorchEngine(model)
    heads, expected = engine.infer(images[0]), reference.infer(images[0])
    np.testing.assert_allclose(heads.logits, expected.logits, atol=1e-2)
    np.testing.assert_allclose(heads.offsets, expected.offsets, atol=1e-2)
    assert not np.array_equal(heads.logits, expected.logits)


def test_fp16_of_something_else_is_refused() -> None:
    with pytest.raises(ExportError, match='cannot be converted to float16'):
        convert_to_fp16(b'no network')


# --- decoded -----------------------------------------------------------------------------------


def test_decoded_names_shapes_types_and_opset(decoded: DecodedNetwork, spec: ModelSpec) -> None:
    assert described_io(decoded.network) == [
        ('input_image', FLOAT, ['batch', *spec.input_size, 3]),
        ('boxes', FLOAT, ['batch', spec.num_priors, 4]),
        ('scores', FLOAT, ['batch', spec.num_priors, spec.num_classes + 1]),
    ]
    proto = onnx.load_from_string(decoded.network)
    onnx.checker.check_model(proto, full_check=True)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [('', 17)]
    assert decoded.opset == 17
    assert proto.ir_version == 8


def test_decoded_priors_are_those_of_the_specification(
    decoded: DecodedNetwork, spec: ModelSpec
) -> None:
    priors = np.load(io.BytesIO(decoded.priors), allow_pickle=False)
    assert priors.dtype == np.float32
    np.testing.assert_array_equal(priors, generate_priors(spec))


def test_decoded_stays_in_a_newer_opset_where_the_older_one_cannot_say_it(
    model: MobileNetSsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError('no adapter')

    monkeypatch.setattr(onnx.version_converter, 'convert_version', fail)
    network = export_decoded(model)
    assert network.opset == 18
    assert onnx.load_from_string(network.network).opset_import[0].version == 18


@pytest.mark.parametrize('num', [1, 3])
def test_decoded_boxes_and_scores(
    decoded: DecodedNetwork, model: MobileNetSsd, images: NDArray[np.uint8], num: int
) -> None:
    boxes, scores = run(decoded.network, images[:num] / np.float32(255))
    logits, offsets = run_torch(model, images[:num])
    expected = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    centre, size = np.split(generate_priors(model.spec), 2, axis=1)
    centre = centre + offsets[..., :2] * 0.1 * size
    size = size * np.exp(offsets[..., 2:] * 0.2)
    expected = np.concatenate((centre - size / 2, centre + size / 2), axis=-1)
    np.testing.assert_allclose(boxes, expected, atol=1e-5)
    assert boxes.min() < 0 or boxes.max() > 1  # not clipped
