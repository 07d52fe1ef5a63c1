"""Tests of the ONNX Runtime engine, on tiny networks and on the shipped one."""

from dataclasses import replace
import os
import subprocess
import sys
import threading

import cv2
from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.detector import Detector
from mnssd_perception.engines import EngineOptions, onnxruntime_engine, open_engine
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
from mnssd_perception.errors import EngineError, EngineUnavailableError, ImageError
import numpy as np
import pytest

onnxruntime = pytest.importorskip('onnxruntime')


def picture(seed=0):
    """Make noise of the size of the tiny input."""
    return np.random.default_rng(seed).integers(0, 256, (4, 8, 3), np.uint8)


def test_black(engine):
    heads = engine.infer(np.zeros((4, 8, 3), np.uint8))
    assert not heads.logits.any()
    assert not heads.offsets.any()


def test_values(engine, factors):
    heads = engine.infer(picture())
    columns = picture().reshape(24, 4).astype(np.float32)
    np.testing.assert_array_equal(heads.logits, columns)
    np.testing.assert_array_equal(heads.offsets, columns * factors)
    assert heads.logits.dtype == heads.offsets.dtype == np.float32


def test_values_are_fresh_at_each_call(engine, factors):
    # Input and outputs lie in kept memory: a copy made once would show the first image for ever.
    for seed in range(20):
        heads = engine.infer(picture(seed))
        columns = picture(seed).reshape(24, 4).astype(np.float32)
        np.testing.assert_array_equal(heads.logits, columns)
        np.testing.assert_array_equal(heads.offsets, columns * factors)


def test_the_image_is_neither_kept_nor_changed(engine):
    image = picture()
    image.flags.writeable = False
    heads = engine.infer(image)
    np.testing.assert_array_equal(image, picture())
    assert not np.shares_memory(heads.logits, image)
    changed = picture()
    heads = engine.infer(changed)
    changed[:] = 0
    np.testing.assert_array_equal(heads.logits, picture().reshape(24, 4))


@pytest.mark.parametrize(
    'view',
    [
        lambda image: image[::-1],
        lambda image: image[:, ::-1],
        lambda image: image[..., ::-1],
        np.asfortranarray,
        lambda image: np.broadcast_to(image[:1, :1], image.shape),
    ],
    ids=['upside down', 'mirrored', 'bgr', 'fortran', 'one pixel'],
)
def test_views(engine, view):
    image = view(picture())
    expected = np.ascontiguousarray(image).reshape(24, 4)
    np.testing.assert_array_equal(engine.infer(image).logits, expected)


def test_engines_do_not_share_memory(network, spec):
    one, two = (
        OnnxRuntimeEngine(spec, network().serialise(), EngineOptions(threads=1), 'fp32')
        for _ in range(2)
    )
    first = one.infer(picture(1))
    two.infer(picture(2))
    np.testing.assert_array_equal(first.logits, picture(1).reshape(24, 4))


def test_two_engines_in_two_threads(network, spec):
    wrong = []

    def work(offset):
        engine = OnnxRuntimeEngine(spec, network().serialise(), EngineOptions(threads=1), 'fp32')
        for seed in range(offset, offset + 50):
            heads = engine.infer(picture(seed))
            if not np.array_equal(heads.logits, picture(seed).reshape(24, 4)):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in (0, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize('options', [(0, False), (1, False), (2, True)])
def test_options(network, spec, options):
    engine = OnnxRuntimeEngine(spec, network().serialise(), EngineOptions(*options), 'int8')
    assert engine.infer(picture()).logits.shape == (24, 4)
    assert engine.info.name == 'onnxruntime'
    assert engine.info.version == onnxruntime.__version__
    assert engine.info.precision == 'int8'
    assert 'CPU' in engine.info.device


def test_floating_point_stays_as_it_was(engine):
    # ONNX Runtime can flush denormals to zero, but does so for the whole calling thread.
    engine.infer(picture())
    smallest = np.array([5e-324])
    assert (smallest + smallest > 0).all()


def test_closed(engine):
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="engine 'onnxruntime' is closed"):
        engine.infer(picture())


def test_heads_outlive_the_engine(engine):
    heads = engine.infer(picture())
    engine.close()
    np.testing.assert_array_equal(heads.logits, picture().reshape(24, 4))


FLOAT, INT8, FLOAT16 = 1, 3, 10


@pytest.mark.parametrize(
    ('changes', 'found'),
    [
        ({'image': 'input'}, "'input'"),
        ({'logits': 'scores'}, "'scores'"),
        ({'offsets': 'boxes'}, "'boxes'"),
        ({'image_type': FLOAT}, r"'image': \(\[4, 8, 3\], 'tensor\(float\)'\)"),
        ({'image_type': INT8}, r"'tensor\(int8\)'"),
        ({'logits_type': FLOAT16}, r"'logits': \(\[24, 4\], 'tensor\(float16\)'\)"),
        ({'image_shape': (8, 4, 3)}, r"'image': \(\[8, 4, 3\]"),
        ({'image_shape': (1, 4, 8, 3)}, r"'image': \(\[1, 4, 8, 3\]"),
        ({'image_shape': ('height', 8, 3)}, r"'image': \(\['height', 8, 3\]"),
        (
            {'logits_shape': (12, 8), 'offsets_shape': (12, 8), 'factors': (2.0,)},
            r"'logits': \(\[12, 8\]",
        ),
        ({'third_output': True}, "'gate'"),
        ({'logits': 'l' * 10**5}, r"'l{200,}\.\.\.$"),
    ],
)
def test_networks_that_break_the_contract_are_refused(network, spec, changes, found):
    expected = r"expected a network with \{'image': \(\[4, 8, 3\], 'tensor\(uint8\)'\).*got .*"
    model = network(**changes).serialise()
    with pytest.raises(EngineError, match=expected + found):
        OnnxRuntimeEngine(spec, model, EngineOptions(threads=1), 'fp32')


def test_a_network_of_another_specification_is_refused(network, spec):
    for other in (
        replace(spec, class_names=('a', 'b')),
        replace(spec, input_size=(8, 4)),
        replace(spec, feature_maps=spec.feature_maps * 2),
    ):
        with pytest.raises(EngineError, match='expected a network with'):
            OnnxRuntimeEngine(other, network().serialise(), EngineOptions(threads=1), 'fp32')


@pytest.mark.parametrize('model', [b'', b'\0', b'not ONNX', bytes(range(256)) * 40])
def test_other_data_are_refused_as_a_network(spec, model):
    with pytest.raises(EngineError, match=r'not an ONNX network|expected a network'):
        OnnxRuntimeEngine(spec, model, EngineOptions(threads=1), 'fp32')


def test_weights_in_the_working_directory_are_refused(
    network, spec, factors, tmp_path, monkeypatch
):
    # ONNX Runtime would read them: a path counts from the working directory.
    (tmp_path / 'weights.bin').write_bytes(factors.tobytes())
    monkeypatch.chdir(tmp_path)
    model = network(external_factors='weights.bin').serialise()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    onnxruntime.InferenceSession(model, options)
    with pytest.raises(EngineError, match="'factors' refers to another file"):
        OnnxRuntimeEngine(spec, model, EngineOptions(threads=1), 'fp32')


def test_a_shape_that_is_not_the_true_one_is_refused(network, spec):
    # It is what onnx_check adds up; a runtime that only warns would allocate something else.
    model = network(offsets_shape=(24, 1)).serialise()
    with pytest.raises(EngineError, match='that can be loaded: .*Inferred=4 Declared=1'):
        OnnxRuntimeEngine(spec, model, EngineOptions(threads=1), 'fp32')


def test_a_network_that_is_too_new_names_its_version_and_a_hint(network, spec):
    with pytest.raises(EngineError, match=r'ONNX IR version 99 \(opset 13\).*install a newer'):
        OnnxRuntimeEngine(spec, network(ir_version=99).serialise(), EngineOptions(), 'fp32')


@pytest.mark.parametrize('is_checked', [True, False])
def test_the_format_of_onnx_runtime_itself_is_refused(
    network, spec, tmp_path, monkeypatch, is_checked
):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / 'network.ort')
    options.add_session_config_entry('session.save_model_format', 'ORT')
    onnxruntime.InferenceSession(network().serialise(), options)
    model = (tmp_path / 'network.ort').read_bytes()
    assert model[4:8] == b'ORTM'
    if not is_checked:  # as if a file could be read both ways
        monkeypatch.setattr(onnxruntime_engine, 'check_onnx', lambda _: None)
    with pytest.raises(EngineError, match='not an ONNX network'):
        OnnxRuntimeEngine(spec, model, EngineOptions(threads=1), 'fp32')


def test_networks_cut_short_are_refused(network, spec):
    model = network().serialise()
    for length in range(0, len(model), 7):
        with pytest.raises(EngineError):
            OnnxRuntimeEngine(spec, model[:length], EngineOptions(threads=1), 'fp32')


def test_without_the_runtime(monkeypatch, network, spec):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    assert 'pip install onnxruntime' in OnnxRuntimeEngine.available()
    with pytest.raises(EngineUnavailableError, match='cannot be used here') as caught:
        OnnxRuntimeEngine(spec, network().serialise(), EngineOptions(), 'fp32')
    assert caught.value.engine == 'onnxruntime'


def test_telemetry_is_off(tmp_path):
    code = """
import os
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
assert OnnxRuntimeEngine.available() is None
assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'
"""
    kept = {key: os.environ[key] for key in ('PATH', 'LD_LIBRARY_PATH') if key in os.environ}
    home = {'HOME': str(tmp_path), 'XDG_CACHE_HOME': str(tmp_path / 'cache')}
    path = {'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, '-c', code], env=kept | home | path, check=True)
    assert not list(tmp_path.rglob('*'))  # no identifier of the device


def test_telemetry_is_left_to_a_user_who_wants_it(monkeypatch):
    monkeypatch.setenv('ORT_DISABLE_TELEMETRY', '0')
    assert OnnxRuntimeEngine.available() is None
    assert os.environ['ORT_DISABLE_TELEMETRY'] == '0'


def test_the_tiny_network_is_sound_by_the_book(network):
    onnx = pytest.importorskip('onnx')
    onnx.checker.check_model(onnx.load_from_string(network().serialise()), full_check=True)


# The shipped network.


@pytest.fixture(scope='module')
def shipped():
    """Open the shipped bundle."""
    return open_bundle(shipped_bundle_path())


@pytest.fixture(scope='module')
def shipped_engine(shipped):
    """Run the shipped network."""
    engine = open_engine(shipped, 'onnxruntime', EngineOptions(threads=1))
    yield engine
    engine.close()


def test_shipped_shapes(shipped, shipped_engine):
    spec = shipped.manifest.spec
    heads = shipped_engine.infer(np.zeros((*spec.input_size, 3), np.uint8))
    assert heads.logits.shape == (spec.num_priors, spec.num_classes + 1)
    assert heads.offsets.shape == (spec.num_priors, 4)
    assert np.isfinite(heads.logits).all()
    assert np.isfinite(heads.offsets).all()


def test_shipped_answers_again_and_differently(shipped, shipped_engine):
    size = (*shipped.manifest.spec.input_size, 3)
    noise = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    first = shipped_engine.infer(noise).logits.copy()
    other = shipped_engine.infer(np.zeros(size, np.uint8)).logits.copy()
    again = shipped_engine.infer(noise).logits
    np.testing.assert_array_equal(again, first)
    assert not np.array_equal(other, first)


def test_shipped_refuses_a_frame(shipped_engine):
    with pytest.raises(ImageError):
        shipped_engine.infer(np.zeros((480, 640, 3), np.uint8))


def test_golden_frames(shipped, shipped_engine):
    # JPEG decoders and CPUs differ by little, and detections at the threshold come and go: one in
    # ten may, none of those that are clear.
    for frame in shipped.manifest.golden:
        encoded = np.frombuffer(shipped.read(frame.path), np.uint8)
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]
        thresholds = replace(shipped.manifest.thresholds, score=frame.score_threshold)
        found = Detector(shipped_engine, thresholds).detect(image)
        for box, score, label in zip(frame.boxes, frame.scores, frame.labels, strict=True):
            near = (np.abs(found.boxes - box).max(axis=1) < 2.0) & (found.labels == label)
            if score > frame.score_threshold + 0.03:
                assert near.any(), f'{frame.path}: nothing of label {label} at {box}'
                assert np.abs(found.scores[near] - score).min() < 0.03
        clear = (found.scores > frame.score_threshold + 0.03).sum()
        assert clear <= len(frame.boxes)
