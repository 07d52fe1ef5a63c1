"""``compile-hailo`` as a user meets it, with a fake compiler and runtime."""

from collections.abc import Callable
from pathlib import Path

from fake_hailo_platform import installed
from fake_hailo_sdk_client import ClientRunner, installed_compiler
from mnssd_perception.bundle import open_bundle
from mnssd_perception.engines import open_engine
from mnssd_perception.engines.hailo_engine import HailoEngine
from mnssd_perception.self_test import run_self_test
from mnssd_training.cli import compile_hailo, export
from mnssd_training.export import HailoNetwork, load_calibration_images
from mnssd_training.model import MobileNetSsd
import numpy as np
import pytest

pytest.importorskip('onnxruntime')


@pytest.fixture(autouse=True)
def _exported(hailo_network: HailoNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """Export once: it takes seconds."""
    monkeypatch.setattr(compile_hailo, 'export_for_hailo', lambda model: hailo_network)


def test_a_compiled_checkpoint_runs(
    checkpoint: Path,
    hit_uav: Path,
    model: MobileNetSsd,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / 'new folder' / 'tiny.hef'
    arguments = [checkpoint, '--arch', 'hailo8l', '--output', output, '--num-calibration', 4]
    with installed_compiler():
        assert compile_hailo.main([*map(str, arguments), '--no-check']) == 0
    hef = output.read_bytes()
    assert capsys.readouterr().out == f'{output}: {len(hef)} bytes for hailo8l\n'
    with installed('5.2.0'):
        engine = HailoEngine(model.spec, hef)
        (image,) = load_calibration_images(hit_uav / 'JPEGImages', model.spec)[:1]
        assert np.ptp(engine.infer(image).logits) > 0.5


def test_the_gate_measures_the_emulated_network(
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ClientRunner, 'compile', lambda runner: pytest.fail('compiled'))
    output = tmp_path / 'tiny.hef'
    arguments = [checkpoint, '--arch', 'hailo8', '--output', output, '--num-calibration', 4]
    with installed_compiler():
        assert compile_hailo.main(list(map(str, arguments))) == 1
    out, err = capsys.readouterr()
    assert out.startswith('hailo emulator 3.33.0, int8, hailo8: mean AP@0.5 0.')
    assert 'on 4 images' in out
    assert 'error: the accuracy gate refused the quantised network: ' in err
    assert 'try --output-bits 16' in err
    assert not output.exists()


def test_prepare_writes_the_files_and_prints_the_commands(
    checkpoint: Path, hit_uav: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / 'prepared'
    arguments = [checkpoint, hit_uav, '--arch', 'hailo10h', '--prepare', folder]
    arguments += ['--calibration-images', hit_uav / 'JPEGImages', '--output-bits', 16]
    assert compile_hailo.main(list(map(str, arguments))) == 0
    out = capsys.readouterr().out
    assert 'a machine with the Dataflow Compiler 5.x' in out
    assert '\nhailo parser onnx network.onnx --hw-arch hailo10h ' in out
    names = {'calibration.npy', 'network.alls', 'network.onnx'}
    assert {path.name for path in folder.iterdir()} == names
    assert len(np.load(folder / 'calibration.npy')) == 8
    assert 'a16_w16' in (folder / 'network.alls').read_text()


@pytest.mark.slow
def test_a_bundle_with_a_compiled_network_runs_on_a_device(
    checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / 'tiny.mnssd'
    arguments = [str(checkpoint), '--name', 'tiny', '--version', '1', '--output', str(path)]
    arguments += ['--score-threshold', '0.3', 'export.artefacts=[fp32,hailo]', '--quiet']
    arguments += ['export.quantization.num_calibration=4', 'export.gate.min_map50=0']
    with installed_compiler():
        assert export.main(arguments) == 0
    bundle = open_bundle(path)
    artefact = bundle.artefact('hailo')
    assert artefact is not None
    assert artefact.gate is not None
    assert (artefact.device, artefact.precision) == ('hailo8l', 'int8')
    assert artefact.gate.scored_with.startswith('hailo emulator 3.33.0')
    assert artefact.gate.num_detections > 0
    with installed('4.23.0'):
        engine = open_engine(bundle)
        assert engine.info.name == 'hailo'
        run_self_test(bundle, engine)
        engine.close()


def test_failures(checkpoint: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    output = tmp_path / 'tiny.hef'

    def error(*arguments: object) -> str:
        return fails(compile_hailo.main, *arguments, '--output', output)

    chip = ['--arch', 'hailo8l']
    assert "Hailo's Dataflow Compiler is missing" in error('gone.pt', *chip)  # before all else
    with installed_compiler('5.1.0'):
        assert 'expected the Dataflow Compiler 3.x for hailo8l' in error(checkpoint, *chip)
    with installed_compiler():
        assert 'no such checkpoint' in error('gone.pt', *chip)
        few = error(checkpoint, *chip, '--num-calibration', 5)
        assert 'expected at least 5 training images' in few
    assert not output.exists()


def test_unknown_chips_are_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        compile_hailo.main(['best.pt', '--arch', 'hailo9'])
    assert "invalid choice: 'hailo9'" in capsys.readouterr().err
