"""The exported network under the contract."""

import getpass
from pathlib import Path
import tempfile

from mnssd_perception.ssd import ModelSpec
from mnssd_training.errors import ExportError
from mnssd_training.export import export_onnx
from mnssd_training.export.onnx import OPSET
from mnssd_training.model import MobileNetSsd
import numpy as np
import onnx
import pytest
import torch


@pytest.fixture(scope='module')
def network(model: MobileNetSsd) -> bytes:
    return export_onnx(model)


def described(value: onnx.ValueInfoProto) -> tuple[str, int, list[int | str]]:
    kind = value.type.tensor_type
    return value.name, kind.elem_type, [d.dim_value or d.dim_param for d in kind.shape.dim]


def test_names_shapes_types_and_opset(network: bytes, spec: ModelSpec) -> None:
    proto = onnx.load_from_string(network)
    onnx.checker.check_model(proto, full_check=True)
    assert list(map(described, proto.graph.input)) == [
        ('image', onnx.TensorProto.UINT8, [*spec.input_size, 3])
    ]
    assert list(map(described, proto.graph.output)) == [
        ('logits', onnx.TensorProto.FLOAT, [spec.num_priors, spec.num_classes + 1]),
        ('offsets', onnx.TensorProto.FLOAT, [spec.num_priors, 4]),
    ]
    assert {entry.domain: entry.version for entry in proto.opset_import} == {'': OPSET}
    assert OPSET == 18


def test_it_is_one_file_that_every_engine_reads(network: bytes) -> None:
    proto = onnx.load_from_string(network)
    assert not any(tensor.external_data for tensor in proto.graph.initializer)
    assert not proto.functions
    operators = {node.op_type for node in proto.graph.node}
    assert not operators & {'BatchNormalization', 'Loop', 'If', 'NonMaxSuppression'}, operators
    assert operators <= {
        'Add', 'Cast', 'Clip', 'Concat', 'Conv', 'Mul', 'Relu', 'Reshape', 'Resize', 'Squeeze',
        'Sub', 'Transpose', 'Unsqueeze', 'Gather', 'Div', 'Identity', 'Constant', 'Slice',
    }  # fmt: skip


def test_nothing_of_this_machine_is_inside(network: bytes) -> None:
    proto = onnx.load_from_string(network)
    for tensor in proto.graph.initializer:
        tensor.ClearField('raw_data')  # numbers that may look like anything
    content = proto.SerializeToString()
    places = {
        str(Path(__file__).parents[3]),
        str(Path(torch.__file__).parents[1]),
        tempfile.gettempdir(),
        getpass.getuser() + '/',
        'site-packages',
        'mobilenet_ssd.py',
        '.py"',
        'File "',
    }
    assert [place for place in places if place.encode() in content] == []


def test_the_same_network_makes_the_same_bytes(network: bytes, model: MobileNetSsd) -> None:
    assert export_onnx(model) == network


def test_the_network_itself_is_left_alone(model: MobileNetSsd, network: bytes) -> None:
    assert network
    assert not model.training
    image = torch.zeros(1, *model.spec.input_size, 3, dtype=torch.uint8)
    with torch.no_grad():
        logits, _ = model(image)
    assert np.isfinite(logits.numpy()).all()


def test_an_exporter_that_fails_says_so(
    model: MobileNetSsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError('no such operator')

    monkeypatch.setattr(torch.onnx, 'export', fail)
    with pytest.raises(ExportError, match='cannot be exported to ONNX: no such operator'):
        export_onnx(model)
