"""``mnssd export-onnx``."""

from pathlib import Path

from mnssd_training.cli import export_onnx
import numpy as np
import onnx
import pytest


def test_decoded_network_and_priors_beside_it(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'new' / 'detector.onnx'
    assert export_onnx.main([str(checkpoint), '--output', str(path)]) == 0
    graph = onnx.load(path).graph
    assert [value.name for value in graph.output] == ['boxes', 'scores']
    priors = np.load(tmp_path / 'new' / 'detector_priors_cxcywh.npy')
    assert priors.shape == (graph.output[0].type.tensor_type.shape.dim[1].dim_value, 4)
    assert f'network: {path} (opset 17)' in capsys.readouterr().out


def test_network_of_a_bundle_in_half_precision(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / 'network_fp16.onnx'
    assert export_onnx.main([str(bundle), '--variant', 'fp16', '--output', str(path)]) == 0
    proto = onnx.load(path)
    assert onnx.TensorProto.FLOAT16 in {tensor.data_type for tensor in proto.graph.initializer}
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_missing_checkpoint_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / 'missing.pt'
    assert export_onnx.main([str(path), '--output', str(tmp_path / 'x.onnx')]) == 1
    assert f'{path}: no such checkpoint' in capsys.readouterr().err
