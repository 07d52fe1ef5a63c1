"""Compilation for Hailo chips, with a fake compiler whose HEFs run in a fake HailoRT."""

from dataclasses import replace
from pathlib import Path
import shlex
import sys
from typing import Any

from fake_hailo_platform import installed
from fake_hailo_sdk_client import (
    BackendValueError,
    ClientRunner,
    installed_compiler,
    InvalidStateException,
    ParsingWithRecommendationException,
)
from mnssd_perception.detector import Detector
from mnssd_perception.engines import Engine
from mnssd_perception.engines.hailo_engine import HailoEngine
from mnssd_perception.errors import EngineError
from mnssd_perception.matching import match_detections
from mnssd_perception.ssd import Thresholds
from mnssd_training.data import Sample
from mnssd_training.data.sample import load_image
from mnssd_training.errors import DatasetError, ExportError
from mnssd_training.export import (
    compile_hailo,
    HailoNetwork,
    HailoOptions,
    load_calibration_images,
    prepare_hailo,
)
from mnssd_training.export.hailo_compiler import (
    ARCHITECTURES,
    HailoEmulatorEngine,
    make_model_script,
)
from mnssd_training.model import MobileNetSsd, TorchEngine
import numpy as np
import pytest

pytest.importorskip('onnxruntime')
LINES = {3: '3.33.0', 5: '5.1.0'}


@pytest.fixture
def images(hailo_network: HailoNetwork, train_samples: list[Sample]) -> list[Any]:
    return load_calibration_images(train_samples, hailo_network.spec)


@pytest.fixture(params=[8, 16])
def options(request: pytest.FixtureRequest) -> HailoOptions:
    return HailoOptions(output_bits=request.param)


def test_no_images(hailo_network: HailoNetwork) -> None:
    with installed_compiler(), pytest.raises(ExportError, match='calibration images, got none'):
        compile_hailo(hailo_network, [], 'hailo8l')


def test_a_compiled_network_detects_what_the_checkpoint_does(
    model: MobileNetSsd,
    hailo_network: HailoNetwork,
    images: list[Any],
    options: HailoOptions,
    val_samples: list[Sample],
) -> None:
    emulated = []

    def check(engine: Engine) -> None:
        emulated.extend(engine.infer(image) for image in inputs)
        batch = engine.infer_batch(np.stack(inputs))
        np.testing.assert_array_equal(batch[1].logits, emulated[1].logits)

    inputs = load_calibration_images(val_samples, model.spec)
    with installed_compiler():
        hef = compile_hailo(hailo_network, images, 'hailo8l', options=options, check=check)
    thresholds = Thresholds(score=0.3)
    with installed('4.23.0'):
        engine = HailoEngine(model.spec, hef)
        checkpoint = TorchEngine(model)
        for image, expected in zip(inputs, emulated):
            heads, reference = engine.infer(image), checkpoint.infer(image)
            np.testing.assert_allclose(heads.logits, expected.logits, atol=1e-5)
            np.testing.assert_allclose(heads.offsets, expected.offsets, atol=1e-5)
            # Half a step of each output, and what lies outside the range of the calibration.
            for name in ('logits', 'offsets'):
                exact, quantised = getattr(reference, name), getattr(heads, name)
                step = np.ptp(exact) / (255 if options.output_bits == 8 else 65535)
                difference = np.abs(exact - quantised)
                assert 0 < np.quantile(difference, 0.99) < 0.6 * step
        found = total = 0
        on_chip, on_cpu = Detector(engine, thresholds), Detector(checkpoint, thresholds)
        for sample in val_samples:
            image = load_image(sample)
            expected, detections = on_cpu.detect(image), on_chip.detect(image)
            match = match_detections(detections, expected.boxes, expected.labels, 0.9)
            found, total = found + len(match.true_positives), total + len(expected)
        engine.close()
    assert found > 0.97 * total > 20


@pytest.mark.parametrize('arch', ARCHITECTURES)
def test_each_chip_has_its_line_of_compilers(
    hailo_network: HailoNetwork, images: list[Any], arch: str
) -> None:
    line = ARCHITECTURES[arch]
    for version in LINES.values():
        with installed_compiler(version):
            if version.startswith(str(line)):
                assert b'"arch": "%s"' % arch.upper().encode() in compile_hailo(
                    hailo_network, images[:1], arch
                )
            else:
                with pytest.raises(
                    ExportError, match=rf'expected .* {line}\.x for {arch}, got {version}.*--prep'
                ):
                    compile_hailo(hailo_network, images, arch)


def test_a_chip_of_the_other_line_refuses_the_network(
    model: MobileNetSsd, hailo_network: HailoNetwork, images: list[Any]
) -> None:
    with installed_compiler('5.1.0'):
        hef = compile_hailo(hailo_network, images[:1], 'hailo10h')
    with installed('4.20.0'), pytest.raises(EngineError, match='--arch for hailo8l'):
        HailoEngine(model.spec, hef)


def test_unknown_chips_are_refused(hailo_network: HailoNetwork, images: list[Any]) -> None:
    with pytest.raises(ExportError, match="expected one of hailo8, .*hailo15h, got 'hailo9'"):
        compile_hailo(hailo_network, images, 'hailo9')


def test_a_missing_compiler_names_the_next_step(
    hailo_network: HailoNetwork, images: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'hailo_sdk_client', None)
    with pytest.raises(
        ExportError, match=r'is missing .*5\.x for hailo10h \(x86-64 .*developer-zone.*--prepare'
    ):
        compile_hailo(hailo_network, images, 'hailo10h')


def test_a_check_that_fails_stops_the_compilation(
    hailo_network: HailoNetwork, images: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engines: list[Engine] = []

    def check(engine: Engine) -> None:
        engines.append(engine)
        raise ExportError('mean AP dropped')

    monkeypatch.setattr(ClientRunner, 'compile', lambda runner: pytest.fail('compiled'))
    with installed_compiler(), pytest.raises(ExportError, match='^mean AP dropped$'):
        compile_hailo(hailo_network, images, 'hailo8', check=check)
    assert str(engines[0].info) == 'hailo emulator 3.33.0, int8, hailo8'
    with pytest.raises(EngineError, match='is closed'):
        engines[0].infer(images[0])


def test_errors_of_the_compiler_keep_their_words(
    hailo_network: HailoNetwork, images: list[Any]
) -> None:
    other = replace(hailo_network, end_nodes=('getitem_1',))
    with (
        installed_compiler(),
        pytest.raises(
            ExportError,
            match='fails for hailo8: ParsingWithRecommendation.*end node names: .*logits',
        ),
    ):
        compile_hailo(other, images, 'hailo8')


def test_images_of_another_size_are_refused(
    hailo_network: HailoNetwork, images: list[Any]
) -> None:
    for wrong in (images[0].transpose(2, 0, 1), images[0].astype(np.float32), images[0][:8]):
        with installed_compiler(), pytest.raises(ExportError, match='calibration images of shape'):
            compile_hailo(hailo_network, [images[0], wrong], 'hailo8')


def test_model_script(hailo_network: HailoNetwork) -> None:
    assert make_model_script(hailo_network.spec, 64, 'hailo8') == (
        'normalization1 = normalization([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])\n'
        'model_optimization_flavor(optimization_level=1, compression_level=0)\n'
        'model_optimization_config(calibration, batch_size=8, calibset_size=64)\n'
    )
    options = HailoOptions(optimization_level=4, compression_level=2, output_bits=16)
    assert make_model_script(hailo_network.spec, 3, 'hailo8l', options).splitlines()[1:] == [
        'model_optimization_flavor(optimization_level=4, compression_level=2)',
        'model_optimization_config(calibration, batch_size=3, calibset_size=3)',
        'quantization_param({output_layer*}, precision_mode=a16_w16)',
        'resources_param(max_utilization=0.7)',
    ]


@pytest.mark.parametrize(
    'change', [{'optimization_level': 5}, {'compression_level': -1}, {'output_bits': 4}]
)
def test_options_out_of_range_are_refused(change: dict[str, int]) -> None:
    ((name, value),) = change.items()
    with pytest.raises(ExportError, match=f'{name}: expected one of .*, got {value}'):
        HailoOptions(**change)


def test_prepared_files_compile_by_the_commands(
    model: MobileNetSsd, hailo_network: HailoNetwork, images: list[Any], tmp_path: Path
) -> None:
    folder = tmp_path / 'for the other machine'
    options = HailoOptions(output_bits=16)
    commands = prepare_hailo(hailo_network, images, 'hailo8l', folder, options)
    names = {'calibration.npy', 'network.alls', 'network.onnx'}
    assert {path.name for path in folder.iterdir()} == names
    parse, optimize, compiler = map(shlex.split, commands.splitlines())
    assert [words[:2] for words in (parse, optimize, compiler)] == [
        ['hailo', 'parser'], ['hailo', 'optimize'], ['hailo', 'compiler'],
    ]  # fmt: skip
    start = parse.index('--start-node-names')
    end = parse.index('--end-node-names')
    assert parse[2:4] == ['onnx', 'network.onnx']
    runner = ClientRunner(hw_arch=parse[parse.index('--hw-arch') + 1])
    runner.translate_onnx_model(
        str(folder / parse[3]),
        parse[parse.index('--net-name') + 1],
        start_node_names=parse[start + 1 : end],
        end_node_names=parse[end + 1 :],
    )
    script = folder / optimize[optimize.index('--model-script') + 1]
    runner.load_model_script(script.read_text())
    calibration = np.load(folder / optimize[optimize.index('--calib-set-path') + 1])
    assert calibration.dtype == np.float32
    assert (calibration.min(), calibration.max()) == (0, 255)
    runner.optimize(calibration)
    with installed_compiler():
        expected = compile_hailo(hailo_network, images, 'hailo8l', options=options)
    assert runner.compile() == expected


def test_a_folder_that_cannot_be_written_is_named(
    hailo_network: HailoNetwork, images: list[Any], tmp_path: Path
) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(DatasetError, match='file.*cannot be written'):
        prepare_hailo(hailo_network, images, 'hailo8l', tmp_path / 'file')


# Traps of the compiler that the fake has.


def translated(network: HailoNetwork, tmp_path: Path) -> ClientRunner:
    path = tmp_path / 'network.onnx'
    path.write_bytes(network.network)
    runner = ClientRunner(hw_arch='hailo8l')
    runner.translate_onnx_model(str(path), 'mnssd', end_node_names=list(network.end_nodes))
    return runner


def test_calibration_without_normalisation_makes_a_network_that_the_engine_refuses(
    model: MobileNetSsd, hailo_network: HailoNetwork, images: list[Any], tmp_path: Path
) -> None:
    # The compiler takes any range of floats; the mistake would show in the detections only.
    for script, divisor in (('', 1), ('full', 255)):
        runner = translated(hailo_network, tmp_path)
        if script:
            runner.load_model_script(make_model_script(model.spec, 1, 'hailo8l'))
        spec = model.spec.normalisation
        calibration = np.stack(images).astype(np.float32) / divisor
        if not script:
            calibration = (calibration / 255 - spec.mean) / spec.std
        runner.optimize(calibration.astype(np.float32))
        with installed('5.2.0') as device:
            device.architecture = 2
            with pytest.raises(EngineError, match='takes pixels of 0 to 255 and normalises them'):
                HailoEngine(model.spec, runner.compile())


def test_calibration_in_the_layout_of_the_file_is_an_error(
    hailo_network: HailoNetwork, images: list[Any], tmp_path: Path
) -> None:
    runner = translated(hailo_network, tmp_path)
    with pytest.raises(BackendValueError, match='do not fit the input'):
        runner.optimize(np.stack(images).transpose(0, 3, 1, 2))


def test_too_few_calibration_images_are_an_error(
    hailo_network: HailoNetwork, images: list[Any], tmp_path: Path
) -> None:
    runner = translated(hailo_network, tmp_path)
    runner.load_model_script(make_model_script(hailo_network.spec, 64, 'hailo8l'))
    with pytest.raises(BackendValueError, match='expected 64 calibration images'):
        runner.optimize(np.stack(images))


def test_steps_out_of_order_are_errors(
    hailo_network: HailoNetwork, images: list[Any], tmp_path: Path
) -> None:
    with pytest.raises(InvalidStateException, match='got UNINITIALIZED'):
        ClientRunner('hailo8l').optimize(np.stack(images))
    runner = translated(hailo_network, tmp_path)
    with pytest.raises(InvalidStateException, match='got HAILO_MODEL'):
        runner.compile()
    runner.optimize(np.stack(images))
    with pytest.raises(InvalidStateException, match='not inside'):
        runner.infer(object(), np.stack(images))


def test_the_network_of_the_drone_cannot_be_parsed(exported: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'network.onnx'
    path.write_bytes(exported)
    with pytest.raises(ParsingWithRecommendationException, match='these end node names'):
        ClientRunner('hailo8').translate_onnx_model(str(path))


def test_the_emulator_matches_outputs_by_shape_and_name(
    model: MobileNetSsd, hailo_network: HailoNetwork, images: list[Any], tmp_path: Path
) -> None:
    runner = translated(hailo_network, tmp_path)
    runner.optimize(np.stack(images))
    with installed_compiler() as sdk:
        wrong = replace(model.spec, class_names=('a', 'b'))
        with pytest.raises(EngineError, match='expected a network with the outputs'):
            HailoEmulatorEngine(wrong, sdk, runner, 'hailo8l')
