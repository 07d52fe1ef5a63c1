"""What TensorRT demands of a network, in the networks that are exported for it."""

from collections.abc import Callable
from typing import Any

from mnssd_perception.engines.onnx_check import check_onnx
from mnssd_training.errors import ExportError
from mnssd_training.export import convert_to_fp16, export_onnx
from mnssd_training.export.quantize import quantize_for_tensorrt
from mnssd_training.export.tensorrt_network import cast_image_first
from mnssd_training.model import MobileNetSsd
import numpy as np
import onnx
from onnx import helper
import onnxruntime
import pytest

FLOAT, UINT8 = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8


@pytest.fixture(scope='module')
def exported(model: MobileNetSsd) -> bytes:
    return export_onnx(model)


def make(*operators: str) -> onnx.ModelProto:
    """Make a network that applies operators to its image, one after the other."""
    names = ['image', *(f'{index}_{name}' for index, name in enumerate(operators))]
    nodes = [
        helper.make_node(name, [before], [after], **({'to': FLOAT} if name == 'Cast' else {}))
        for name, before, after in zip(operators, names, names[1:])
    ]
    image = helper.make_tensor_value_info('image', UINT8, [2, 2])
    kind = FLOAT if 'Cast' in operators else UINT8
    heads = helper.make_tensor_value_info(names[-1], kind, [2, 2])
    return helper.make_model(
        helper.make_graph(nodes, 'tiny', [image], [heads]),
        opset_imports=[helper.make_opsetid('', 18)], ir_version=8,
    )  # fmt: skip


def users_of_image(network: bytes) -> list[str]:
    return [
        node.op_type for node in onnx.load_from_string(network).graph.node if 'image' in node.input
    ]


def run(network: bytes, image: np.ndarray) -> list[Any]:
    session = onnxruntime.InferenceSession(network, providers=['CPUExecutionProvider'])
    return list(session.run(None, {'image': image}))


@pytest.mark.parametrize(
    ('operators', 'expected'),
    [
        (['Cast'], ['Cast']),
        (['Cast', 'Relu'], ['Cast', 'Relu']),
        (['Transpose', 'Cast', 'Relu'], ['Cast', 'Transpose', 'Relu']),
        (['Identity', 'Transpose', 'Cast', 'Relu'], ['Cast', 'Identity', 'Transpose', 'Relu']),
        (['Transpose', 'Cast'], ['Cast', 'Transpose']),
    ],
)
def test_the_image_is_converted_first(operators: list[str], expected: list[str]) -> None:
    proto, original = make(*operators), make(*operators)
    cast_image_first(proto)
    assert [node.op_type for node in proto.graph.node] == expected
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(proto, strict_mode=True), True)
    image = np.arange(4, dtype=np.uint8).reshape(2, 2)
    (one,), (other,) = (run(item.SerializeToString(), image) for item in (proto, original))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('operators', [['Transpose'], ['Sigmoid', 'Cast'], []])
def test_a_network_that_computes_with_bytes_is_refused(operators: list[str]) -> None:
    with pytest.raises(ExportError, match='a network that converts its image by a Cast, got'):
        cast_image_first(make(*operators))


def test_a_second_use_of_the_image_is_refused() -> None:
    proto = make('Transpose', 'Cast')
    proto.graph.node.append(helper.make_node('Identity', ['image'], ['copy']))
    with pytest.raises(ExportError, match='got Transpose, Identity'):
        cast_image_first(proto)


@pytest.mark.parametrize(
    'convert',
    [convert_to_fp16, lambda network: quantize_for_tensorrt(network, _images(network))],
    ids=['fp16', 'int8'],
)
def test_networks_for_tensorrt_convert_the_image_first(
    exported: bytes, convert: Callable[[bytes], bytes]
) -> None:
    converted = convert(exported)
    assert users_of_image(exported) == ['Unsqueeze']  # as the exporter writes it
    assert users_of_image(converted) == ['Cast']
    check_onnx(converted)
    (image,) = _images(exported)
    for one, other in zip(run(converted, image), run(exported, image), strict=True):
        assert one.dtype == np.float32
        assert np.abs(one - other).mean() < 0.1 * np.abs(other).mean() + 0.05


def _images(network: bytes) -> list[np.ndarray]:
    shape = onnx.load_from_string(network).graph.input[0].type.tensor_type.shape
    sides = [dim.dim_value for dim in shape.dim]
    return [np.random.default_rng(0).integers(0, 256, sides, np.uint8)]
