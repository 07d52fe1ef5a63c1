"""A checkpoint to a bundle that opens, flies and knows where it comes from."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
import errno
import json
import multiprocessing
import os
from pathlib import Path
import re
import signal
import sys
from types import SimpleNamespace
from typing import Any
import zipfile

import cv2
from mnssd_perception.bundle import Bundle, open_bundle, writer
from mnssd_perception.detector import Detector
from mnssd_perception.engines import Engine, ENGINES, open_engine
from mnssd_perception.engines.openvino_engine import OpenVinoEngine
from mnssd_perception.errors import BundleError, SelfTestError, SpecError
from mnssd_perception.self_test import count_clear, run_self_test, TOLERANCES
from mnssd_perception.ssd import Detections, Thresholds
from mnssd_training.config import ExportConfig, GateConfig, ModelConfig
from mnssd_training.data import Sample
from mnssd_training.errors import ExportError
from mnssd_training.evaluation import detect_samples, evaluate_detections, scores_to_json
from mnssd_training.export import bundle_path, factory, package, PackageNotes
from mnssd_training.export.artefacts import choose_runners
from mnssd_training.export.package import _choose_golden
from mnssd_training.export.parity import HeadDifferences
from mnssd_training.export.provenance import dataset_digest
from mnssd_training.model import MobileNetSsd
from mnssd_training.train import Checkpoint
import numpy as np
import onnx
import pytest

NOTES = PackageNotes(
    name='tiny',
    version='0.0.1',
    dataset='eight images',
    licence='CC BY 4.0',
    attribution='Suo et al.',
    documents={'MODEL_CARD.md': b'# A network of random numbers\n'},
    thresholds=Thresholds(score=0.3, max_detections=20),
)
# A network of random numbers detects what it likes.
CONFIG = ExportConfig(artefacts=('fp32',), gate=GateConfig(min_map50=0))
EXPERIMENT = {
    'initial': {'backbone_weights': '/somewhere/else/mobilenet_v2.pth'},
    'data': {'root': '/somewhere/else/hit_uav', 'train_split': 'train'},
    'training': {'epochs': 0},
}


@pytest.fixture(scope='module')
def checkpoint(model: MobileNetSsd) -> Checkpoint:
    weights = model.state_dict()
    return Checkpoint(
        model.spec, ModelConfig(pyramid_channels=32), EXPERIMENT, weights, None, 0, {}
    )


@pytest.fixture(scope='module')
def bundle(
    checkpoint: Checkpoint,
    train_samples: list[Sample],
    val_samples: list[Sample],
    exported: bytes,
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    path = tmp_path_factory.mktemp('bundle') / 'tiny-0.0.1.mnssd'
    with pytest.MonkeyPatch.context() as patch:  # spare the export, which takes seconds
        patch.setattr(sys.modules[package.__module__], 'export_onnx', lambda _: exported)
        package(checkpoint, train_samples, val_samples, path, NOTES, CONFIG)
    return open_bundle(path)


@pytest.fixture
def engine(bundle: Bundle) -> Engine:
    return open_engine(bundle, 'onnxruntime')


# --- the bundle ------------------------------------------------------------------------------


def test_bundle_content(bundle: Bundle, checkpoint: Checkpoint, val_samples: list[Sample]) -> None:
    manifest = bundle.manifest
    assert (bundle.name, bundle.version) == ('tiny', '0.0.1')
    assert manifest.spec == checkpoint.spec
    assert manifest.thresholds == NOTES.thresholds
    assert bundle.read('MODEL_CARD.md') == NOTES.documents['MODEL_CARD.md']
    names = {entry.path for entry in manifest.files}
    golden = {frame.path for frame in manifest.golden}
    assert names == {'network.onnx', 'MODEL_CARD.md', *golden}
    artefact = bundle.artefact('onnxruntime')
    assert artefact is not None
    assert artefact.precision == 'fp32'
    assert set(artefact.toolchain) == {'python', 'torch', 'torchvision', 'onnx'}
    onnx.load_from_string(bundle.read(artefact.path))
    assert len(golden) == 3  # of the four images, one is empty
    assert all(bundle.read(path) for path in golden)


def test_provenance(bundle: Bundle, train_samples: list[Sample]) -> None:
    provenance = bundle.manifest.provenance
    assert provenance.dataset_digest == dataset_digest(train_samples)
    assert (provenance.dataset, provenance.licence) == ('eight images', 'CC BY 4.0')
    assert provenance.attribution == 'Suo et al.'
    assert provenance.experiment == {
        'initial': {'backbone_weights': 'mobilenet_v2.pth'},
        'data': {'root': 'hit_uav', 'train_split': 'train'},  # what it is called, not where it lay
        'training': {'epochs': 0},
    }
    assert len(provenance.git_commit) in (0, 40)


def test_metrics_are_those_of_the_engine(
    bundle: Bundle, engine: Engine, val_samples: list[Sample]
) -> None:
    metrics = bundle.manifest.artefacts[0].metrics
    detections = detect_samples(Detector(engine, Thresholds(0.01, 0.5, 100)), val_samples)
    again = evaluate_detections(val_samples, detections, bundle.manifest.spec.class_names)
    assert metrics['scores'] == json.loads(json.dumps(scores_to_json(again)))
    assert metrics['parity_with_pytorch']['num_images'] == 3
    assert metrics['parity_with_pytorch']['logits'] < 1e-3
    assert metrics['measured_on']['num_images'] == 4
    assert metrics['measured_on']['digest'] == dataset_digest(val_samples)
    assert metrics['measured_on']['engine'] == str(engine.info)


def test_a_bundle_passes_its_own_self_test(bundle: Bundle, engine: Engine) -> None:
    assert len(bundle.manifest.golden) == 3
    run_self_test(bundle, engine)


def detect_some(num_clear: int) -> Detections:
    """Make some clear detections, and five close to the threshold."""
    scores = np.array([0.9] * num_clear + [0.31] * 5, np.float32)
    boxes = np.tile(np.float32([0, 0, 9, 9]), (len(scores), 1))
    return Detections(boxes, scores, np.zeros(len(scores), np.int64))


@pytest.mark.parametrize(
    ('counts', 'chosen'), [([], []), ([0, 2, 1, 3], [3, 1]), ([1, 1, 0, 1], [0, 1]), ([4], [0])]
)
def test_golden_frames_are_those_with_the_most_clear_detections(
    train_samples: list[Sample], counts: list[int], chosen: list[int]
) -> None:
    samples = [sample for sample in train_samples if len(sample.boxes)] * 2
    samples, tolerance = samples[: len(counts)], TOLERANCES['fp32']
    detections = [detect_some(num) for num in counts]
    reference: Any = SimpleNamespace(samples=samples, thresholds=Thresholds(0.3))
    golden = _choose_golden(reference, detections, 2)
    assert [count_clear(frame, tolerance) for frame, _ in golden] == [counts[i] for i in chosen]
    for number, ((frame, sample), index) in enumerate(zip(golden, chosen, strict=True), 1):
        assert sample is samples[index]
        assert frame.path == f'golden/{number}_{sample.path.name}'


def test_a_bundle_that_fails_its_self_test_is_not_written(
    checkpoint: Checkpoint,
    train_samples: list[Sample],
    val_samples: list[Sample],
    exported: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(bundle: Bundle, engine: Engine) -> None:
        raise SelfTestError(bundle.path, engine.info.name, 'golden/1', 'as the test wants it')

    module = sys.modules[package.__module__]
    monkeypatch.setattr(module, 'export_onnx', lambda _: exported)
    monkeypatch.setattr(module.self_test, 'run_self_test', fail)
    with pytest.raises(SelfTestError):
        package(checkpoint, train_samples, val_samples, tmp_path / 'tiny.mnssd', NOTES, CONFIG)
    assert list(tmp_path.iterdir()) == []


def test_images_that_are_too_large_do_not_become_golden_frames(
    checkpoint: Checkpoint,
    train_samples: list[Sample],
    val_samples: list[Sample],
    exported: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = sys.modules[package.__module__]
    monkeypatch.setattr(module, 'export_onnx', lambda _: exported)
    monkeypatch.setattr(module.self_test, 'MAX_GOLDEN_PIXELS', 1)
    manifest = package(
        checkpoint, train_samples, val_samples, tmp_path / 'tiny.mnssd', NOTES, CONFIG
    )
    assert manifest.golden == ()


def test_the_path_of_a_bundle(tmp_path: Path) -> None:
    assert bundle_path(Path(), 'a', '1.0') == Path('a-1.0.mnssd')
    assert bundle_path(Path('some'), 'a', '1.0') == Path('some/a-1.0.mnssd')
    assert bundle_path(Path('some/b.mnssd'), 'a', '1.0') == Path('some/b.mnssd')
    (tmp_path / 'c.mnssd').mkdir()  # a bundle may be a folder, and a folder is not replaced
    assert bundle_path(tmp_path / 'c.mnssd', 'a', '1') == tmp_path / 'c.mnssd/a-1.mnssd'


def test_golden_frames_are_reproduced(bundle: Bundle, engine: Engine) -> None:
    thresholds = bundle.manifest.thresholds
    total = 0
    for frame in bundle.manifest.golden:
        image = cv2.imdecode(np.frombuffer(bundle.read(frame.path), np.uint8), cv2.IMREAD_COLOR)
        found = Detector(engine, replace(thresholds, score=frame.score_threshold)).detect(
            image[..., ::-1]
        )
        assert found.labels.tolist() == list(frame.labels)
        np.testing.assert_allclose(found.boxes, frame.boxes, atol=0.01)
        np.testing.assert_allclose(found.scores, frame.scores, atol=1e-4)
        total += len(found)
    assert total > 10


def test_the_bundle_holds_no_path_of_this_machine(bundle: Bundle, hit_uav: Path) -> None:
    with zipfile.ZipFile(bundle.path) as archive:
        content = b''.join(archive.read(name) for name in archive.namelist())
    places = (hit_uav, bundle.path.parent, Path(__file__).parents[3])
    for place in (*map(str, places), '/somewhere/else'):
        assert place.encode() not in content


# --- what goes wrong -------------------------------------------------------------------------


@pytest.fixture
def _exported_once(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the export, which takes seconds."""
    network = bundle.read('network.onnx')
    monkeypatch.setattr(sys.modules[package.__module__], 'export_onnx', lambda _: network)


@pytest.mark.usefixtures('_exported_once')
def test_a_missing_output_folder_is_refused(
    checkpoint: Checkpoint, val_samples: list[Sample], tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match='cannot be written'):
        package(checkpoint, val_samples, val_samples, tmp_path / 'no' / 'x.mnssd', NOTES, CONFIG)


@pytest.mark.usefixtures('_exported_once')
def test_a_failed_check_writes_nothing(
    checkpoint: Checkpoint,
    val_samples: list[Sample],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    differences = HeadDifferences(1, 0.5, 0.0, 0.1, 0.0)
    monkeypatch.setattr(sys.modules[package.__module__], 'compare_heads', lambda *_: differences)
    with pytest.raises(ExportError, match='expected logits within 0.01 of PyTorch'):
        package(checkpoint, val_samples, val_samples, tmp_path / 'x.mnssd', NOTES, CONFIG)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures('_exported_once')
def test_an_invalid_name_is_refused(
    checkpoint: Checkpoint, val_samples: list[Sample], tmp_path: Path
) -> None:
    notes = replace(NOTES, name='two words')
    with pytest.raises(SpecError, match='name: expected letters'):
        package(checkpoint, val_samples, val_samples, tmp_path / 'x.mnssd', notes, CONFIG)


@pytest.mark.parametrize('name', ['network.onnx', 'network_int8.onnx', 'manifest.json'])
def test_a_document_cannot_take_the_place_of_a_network(
    checkpoint: Checkpoint, val_samples: list[Sample], tmp_path: Path, name: str
) -> None:
    notes = replace(NOTES, documents={'README.md': b'text', name: b'another'})
    with pytest.raises(ExportError, match=f"names of their own, got '{name}'"):
        package(checkpoint, val_samples, val_samples, tmp_path / 'x.mnssd', notes, CONFIG)


# --- the accuracy gate -------------------------------------------------------------------------


def with_zeroed_head(network: bytes) -> bytes:
    proto = onnx.load_from_string(network)
    for tensor in proto.graph.initializer:
        if 'logits' in tensor.name:
            zeros = np.zeros_like(onnx.numpy_helper.to_array(tensor))
            tensor.CopyFrom(onnx.numpy_helper.from_array(zeros, tensor.name))
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (with_zeroed_head, 'refused fp32 in onnxruntime: expected none of .* to change'),
        (lambda network: network[: len(network) // 2], 'network.onnx cannot be loaded in onnx'),
        (lambda network: b'', 'network.onnx cannot be loaded in onnx'),
    ],
    ids=['zeroed head', 'truncated', 'empty'],
)
def test_damaged_export_is_refused(
    checkpoint: Checkpoint,
    val_samples: list[Sample],
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[bytes], bytes],
    message: str,
) -> None:
    network = damage(bundle.read('network.onnx'))
    monkeypatch.setattr(sys.modules[package.__module__], 'export_onnx', lambda _: network)
    with pytest.raises(ExportError, match=message):
        package(checkpoint, val_samples, val_samples, tmp_path / 'x.mnssd', NOTES, CONFIG)
    assert not (tmp_path / 'x.mnssd').exists()


@pytest.mark.usefixtures('_exported_once')
def test_refusal_is_reported_and_leaves_an_older_bundle(
    checkpoint: Checkpoint, val_samples: list[Sample], tmp_path: Path
) -> None:
    path = tmp_path / 'x-1.0.mnssd'
    path.write_bytes(b'older bundle')
    strict = CONFIG.model_copy(update={'gate': GateConfig()})
    with pytest.raises(ExportError, match='x-1.0.mnssd is not written, .* refused fp32 in onnx'):
        package(checkpoint, val_samples, val_samples, path, NOTES, strict)
    assert path.read_bytes() == b'older bundle'
    reports = [tmp_path / f'x-1.0.gate.{suffix}' for suffix in ('json', 'txt')]
    assert sorted(tmp_path.iterdir()) == [*reports, path]
    text = reports[1].read_text()
    assert 'fp32 in onnxruntime: refused' in text
    assert 'expected a mean AP@0.5 of at least 0.05, got 0.0' in text
    for word in ('Person', 'OtherVehicle', 'mean', 'small', 'large', 'points'):
        assert word in text
    refused = json.loads(reports[0].read_text())['refused'][0]
    assert (refused['artefact'], refused['engine']) == ('fp32', 'onnxruntime')
    assert not refused['verdict']['passed']
    assert refused['scores']['map50'] == refused['scores_checkpoint']['map50']
    package(checkpoint, val_samples, val_samples, path, NOTES, CONFIG)
    assert list(tmp_path.iterdir()) == [path]  # nothing is wrong any more
    assert open_bundle(path).manifest.schema == 2


@pytest.mark.usefixtures('_exported_once')
@pytest.mark.parametrize(
    'title', ['checkpoint: measuring in PyTorch', 'self-test of every engine']
)
def test_killed_export_leaves_an_older_bundle(
    checkpoint: Checkpoint, val_samples: list[Sample], tmp_path: Path, title: str
) -> None:
    path = tmp_path / 'x.mnssd'
    path.write_bytes(b'older bundle')

    def die(step: str, num_images: int) -> Any:
        if step == title:
            os.kill(os.getpid(), signal.SIGKILL)
        return nullcontext(lambda num: None)

    def export() -> None:
        package(checkpoint, val_samples, val_samples, path, NOTES, CONFIG, step=die)

    process = multiprocessing.get_context('fork').Process(target=export)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b'older bundle'


@pytest.mark.usefixtures('_exported_once')
def test_full_disk_leaves_an_older_bundle(
    checkpoint: Checkpoint,
    val_samples: list[Sample],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / 'x.mnssd'
    path.write_bytes(b'older bundle')
    write = writer.write_atomically

    def fail(target: Path, content: bytes) -> None:
        if target == path:
            raise OSError(errno.ENOSPC, 'No space left on device')
        write(target, content)

    monkeypatch.setattr(writer, 'write_atomically', fail)
    with pytest.raises(BundleError, match='No space left on device: the file needs'):
        package(checkpoint, val_samples, val_samples, path, NOTES, CONFIG)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b'older bundle'


def test_every_artefact_has_a_verdict_and_metrics(bundle: Bundle) -> None:
    artefacts = bundle.manifest.artefacts
    engines = ['onnxruntime'] + ['openvino'] * (OpenVinoEngine.available() is None)
    assert [item.engine for item in artefacts] == engines
    for item in artefacts:
        assert item.gate is not None
        assert item.gate.passed
        assert item.gate.num_changed == 0
        assert item.metrics['size_bytes'] == len(bundle.read(item.path))
        assert item.metrics['speed']['stages']['engine']['p50'] > 0
        assert item.gate.scored_with.startswith(item.engine)


def test_missing_engines_are_left_out_unless_none_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    for engine in ('openvino', 'tensorrt'):
        monkeypatch.setattr(ENGINES[engine], 'available', staticmethod(lambda: 'not installed'))
    runners, reasons = choose_runners(ExportConfig())
    assert runners == {'onnxruntime': 'onnxruntime', 'tensorrt': 'onnxruntime'}
    assert reasons == ('openvino: not installed',)
    monkeypatch.setattr(ENGINES['onnxruntime'], 'available', staticmethod(lambda: 'not installed'))
    with pytest.raises(ExportError, match='fp32: expected an engine that can measure it'):
        choose_runners(ExportConfig())


def test_missing_hailo_compiler_is_reported_before_the_work() -> None:
    pytest.importorskip('onnxruntime')
    with pytest.raises(ExportError, match="Hailo's Dataflow Compiler is missing"):
        choose_runners(ExportConfig(artefacts=('fp32', 'hailo')))


@pytest.mark.slow
def test_all_networks_of_a_bundle(
    checkpoint: Checkpoint, train_samples: list[Sample], val_samples: list[Sample], tmp_path: Path
) -> None:
    """A network of random numbers loses much in INT8; that is not what is tested here."""
    loose = GateConfig(min_map50=0, max_drop_int8=100, max_changed_int8=1, max_changed_fp16=1)
    config = ExportConfig(artefacts=('fp32', 'batch', 'fp16', 'int8', 'int8_tensorrt'), gate=loose)
    notes = replace(NOTES, thresholds=Thresholds(score=0.9))
    path = tmp_path / 'x.mnssd'
    package(checkpoint, train_samples, val_samples, path, notes, config)
    opened = open_bundle(path)
    artefacts = {
        (item.engine, item.precision, item.has_batch) for item in opened.manifest.artefacts
    }
    assert artefacts >= {
        ('onnxruntime', 'fp32', False), ('onnxruntime', 'fp32', True),
        ('onnxruntime', 'int8', False), ('tensorrt', 'fp16', False), ('tensorrt', 'int8', False),
    }  # fmt: skip
    int8 = opened.artefact('onnxruntime', 'int8')
    assert int8 is not None
    assert int8.metrics['calibration']['num_images'] == 4
    assert re.fullmatch(r'sha256:[0-9a-f]{64}', int8.metrics['calibration']['digest'])
    assert int8.metrics['layers_in_float'] == []
    tensorrt = opened.artefact('tensorrt', 'int8')
    assert tensorrt is not None
    assert tensorrt.gate is not None
    assert tensorrt.gate.scored_with.startswith('onnxruntime')
    assert 'speed' not in tensorrt.metrics


@pytest.mark.usefixtures('_exported_once')
def test_damaged_int8_is_refused(
    checkpoint: Checkpoint,
    train_samples: list[Sample],
    val_samples: list[Sample],
    exported: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # OpenVINO notices that this network is not quantised, which is another refusal.
    monkeypatch.setattr(OpenVinoEngine, 'available', staticmethod(lambda: 'not installed'))
    damaged = with_zeroed_head(exported)
    monkeypatch.setattr(factory, 'quantize_for_cpu', lambda *_, **options: damaged)
    config = CONFIG.model_copy(update={'artefacts': ('fp32', 'int8')})
    path = tmp_path / 'x.mnssd'
    with pytest.raises(ExportError, match='refused int8 in onnxruntime: expected at most 15% of'):
        package(checkpoint, train_samples, val_samples, path, NOTES, config)
    assert not path.exists()
    text = (tmp_path / 'x.gate.txt').read_text()
    assert 'int8 in onnxruntime: refused' in text
    assert 'fp32' not in text.splitlines()[0]
