"""The exported network under the contract."""

from collections.abc import Callable
import getpass
import json
from pathlib import Path
import tempfile
from typing import Any

from mnssd_perception.ssd import ModelSpec
from mnssd_training.errors import ExportError
from mnssd_training.export import export_onnx, read_spec
from mnssd_training.export.onnx import OPSET, SPEC_KEY
from mnssd_training.model import MobileNetSsd
import numpy as np
import onnx
import pytest
import torch


@pytest.fixture
def network(exported: bytes) -> bytes:
    return exported


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
    assert proto.ir_version == 8  # ONNX Runtime reads 10 from 1.18 on
    assert OPSET == 18


def test_the_export_is_one_file_that_every_engine_reads(network: bytes) -> None:
    proto = onnx.load_from_string(network)
    assert not any(tensor.external_data for tensor in proto.graph.initializer)
    assert not proto.functions
    operators = {node.op_type for node in proto.graph.node}
    assert not operators & {'BatchNormalization', 'Loop', 'If', 'NonMaxSuppression'}, operators
    assert operators <= {
        'Add', 'Cast', 'Clip', 'Concat', 'Conv', 'Mul', 'Relu', 'Reshape', 'Resize', 'Squeeze',
        'Sub', 'Transpose', 'Unsqueeze', 'Gather', 'Div', 'Identity', 'Constant', 'Slice',
    }  # fmt: skip


def test_the_export_holds_nothing_of_this_machine(network: bytes) -> None:
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


def test_an_exporter_error_is_explained(
    model: MobileNetSsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError('no such operator')

    monkeypatch.setattr(torch.onnx, 'export', fail)
    with pytest.raises(ExportError, match='cannot be exported to ONNX: no such operator'):
        export_onnx(model)


# --- the specification inside ----------------------------------------------------------------

FILE = Path('some.onnx')


def with_metadata(network: bytes, **properties: str) -> bytes:
    proto = onnx.load_from_string(network)
    del proto.metadata_props[:]
    for key, value in properties.items():
        proto.metadata_props.add(key=key, value=value)
    return proto.SerializeToString()


def test_the_file_alone_holds_its_specification(network: bytes, spec: ModelSpec) -> None:
    assert read_spec(FILE, network) == spec
    properties = onnx.load_from_string(network).metadata_props
    assert [entry.key for entry in properties] == [SPEC_KEY]


def test_a_network_without_metadata_is_refused(network: bytes) -> None:
    with pytest.raises(ExportError, match="some.onnx: expected .* metadata 'mnssd_spec', got one"):
        read_spec(FILE, with_metadata(network, author='somebody'))
    for content in (b'', b'no network at all', network[:1000]):
        with pytest.raises(ExportError, match='some.onnx: '):
            read_spec(FILE, content)


@pytest.mark.parametrize(
    'change',
    [
        lambda told: 'no JSON',
        lambda told: '[]',
        lambda told: '[' * 100_000,
        lambda told: json.dumps({'spec': told['spec']}),
        lambda told: json.dumps({**told, 'spec': {}}),
        lambda told: json.dumps({**told, 'spec': {**told['spec'], 'variances': [0, 1]}}),
        lambda told: json.dumps({**told, 'prior_digest': 'sha256:0'}),
    ],
    ids=['text', 'list', 'deep', 'no digest', 'no spec', 'wrong spec', 'other priors'],
)
def test_a_damaged_specification(network: bytes, change: Callable[[Any], str]) -> None:
    told = json.loads(onnx.load_from_string(network).metadata_props[0].value)
    with pytest.raises(ExportError, match=r'some.onnx: (its metadata .* is damaged|its priors)'):
        read_spec(FILE, with_metadata(network, **{SPEC_KEY: change(told)}))
