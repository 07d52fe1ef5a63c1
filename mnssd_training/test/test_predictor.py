"""Models of all file types as detectors."""

from pathlib import Path

from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.errors import EngineError, SettingsError
from mnssd_perception.ssd import Thresholds
from mnssd_training.config import ModelConfig
from mnssd_training.model import MobileNetSsd
from mnssd_training.predictor import open_predictor
from mnssd_training.train.checkpoint import Checkpoint, save_checkpoint
import pytest


def test_a_bundle_with_its_thresholds() -> None:
    manifest = open_bundle(shipped_bundle_path()).manifest
    predictor = open_predictor(str(shipped_bundle_path()))
    assert predictor.file_type == 'bundle'
    assert predictor.detector.spec == manifest.spec
    assert predictor.thresholds == predictor.detector.thresholds == manifest.thresholds
    assert predictor.experiment == {}


def test_a_checkpoint_with_its_experiment(model: MobileNetSsd, tmp_path: Path) -> None:
    path, experiment = tmp_path / 'best.PT', {'data': {'root': 'somewhere'}}
    config = ModelConfig(pyramid_channels=32)
    weights = model.state_dict()
    save_checkpoint(path, Checkpoint(model.spec, config, experiment, weights, None, 0, {}))
    predictor = open_predictor(str(path))
    assert (predictor.file_type, predictor.experiment) == ('checkpoint', experiment)
    assert predictor.detector.engine.info.name == 'PyTorch'
    assert predictor.thresholds == Thresholds()


def test_an_onnx_file(exported: bytes, model: MobileNetSsd, tmp_path: Path) -> None:
    path = tmp_path / 'network.onnx'
    path.write_bytes(exported)
    predictor = open_predictor(str(path), 'onnxruntime')
    assert (predictor.file_type, predictor.detector.spec) == ('ONNX file', model.spec)
    assert predictor.detector.engine.info.name == 'onnxruntime'
    with pytest.raises(SettingsError, match="engine: expected one of auto, .*, got 'magic'"):
        open_predictor(str(path), 'magic')


def test_precision_chooses_among_the_networks_of_a_bundle(model: MobileNetSsd) -> None:
    path = str(shipped_bundle_path())
    assert open_predictor(path, 'auto', 'fp32').detector.engine.info.precision == 'fp32'
    with pytest.raises(EngineError, match='has no network for engine .* in bf16'):
        open_predictor(path, 'auto', 'bf16')
    with pytest.raises(SettingsError, match='precision: expected one of'):
        open_predictor(path, 'auto', 'int3')
    for other in ('best.pt', 'network.onnx'):
        with pytest.raises(SettingsError, match=f'expected a bundle, .* got .{other}.'):
            open_predictor(other, 'auto', 'int8')
