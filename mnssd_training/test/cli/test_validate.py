"""``mnssd validate``."""

import json
from pathlib import Path

from mnssd_training.cli import validate
from mnssd_training.config import ModelConfig
from mnssd_training.export.onnx import export_onnx
from mnssd_training.model import build_model, MobileNetSsd
import pytest
import torch


def test_a_file_matches_its_checkpoint_and_bundle_on_their_data(
    network: Path, checkpoint: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert validate.main([str(network), '--against', str(checkpoint), '--limit', '2']) == 0
    text = capsys.readouterr().out
    assert 'form: network, fp32, opset 18' in text
    assert 'raw heads on 2 images: ' in text
    assert 'detections: 0 of ' in text
    assert text.endswith('the file matches\n')
    arguments = [str(network), '--against', str(bundle), '--random-images', '3', '--json', '-']
    assert validate.main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['problems'] == []
    assert report['structure']['form'] == 'network'
    assert report['heads']['num_images'] == 3
    assert report['heads']['logits'] < 1e-3
    assert report['verdict'] is None


def test_a_network_of_other_weights_does_not_match(
    model: MobileNetSsd, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(1)
    other = build_model(model.spec, ModelConfig(pyramid_channels=32))
    path, report = tmp_path / 'other.onnx', tmp_path / 'report.json'
    path.write_bytes(export_onnx(other))
    arguments = [str(path), '--against', str(checkpoint), '--random-images', '1']
    assert validate.main([*arguments, '--json', str(report)]) == 1
    captured = capsys.readouterr()
    assert f'{path} does not match {checkpoint}: expected logits within 0.01' in captured.err
    assert 'the file matches' not in captured.out
    assert len(json.loads(report.read_text())['problems']) == 2


@pytest.mark.parametrize('content', [None, b'', b'no network'])
def test_what_is_no_network_is_named(
    content: bytes | None, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'some.onnx'
    if content is not None:
        path.write_bytes(content)
    assert validate.main([str(path), '--against', str(checkpoint), '--random-images', '1']) == 1
    assert f'error: {path}: ' in capsys.readouterr().err
