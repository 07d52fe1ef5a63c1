"""Tests of the ONNX Runtime engine, on tiny networks and on the shipped one."""

from dataclasses import replace
import os
import subprocess
import sys
import threading
from typing import ClassVar

import cv2
from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.detector import Detector
from mnssd_perception.engines import EngineOptions, onnxruntime_engine, open_engine
from mnssd_perception.engines.onnx_check import MAX_BATCH
from mnssd_perception.engines.onnxruntime_engine import (
    CudaOnnxRuntimeEngine,
    OnnxRuntimeEngine,
    OpenVinoOnnxRuntimeEngine,
    TensorRtOnnxRuntimeEngine,
)
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
from mnssd_perception.engines.onnx_check import MAX_BATCH
from mnssd_perception.engines.onnxruntime_engine import (
    CudaOnnxRuntimeEngine,
    OnnxRuntimeEngine,
    OpenVinoOnnxRuntimeEngine,
    TensorRtOnnxRuntimeEngine,
)
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


# Batches.


def batch_images(size):
    return np.random.default_rng(0).integers(0, 256, (size, 4, 8, 3), np.uint8)


@pytest.mark.parametrize('size', [1, 2, MAX_BATCH, MAX_BATCH + 1, 3 * MAX_BATCH])
def test_batch_network_equals_single_images(engine, batch_network, spec, size):
    batch_engine = OnnxRuntimeEngine(spec, batch_network, EngineOptions(threads=1), 'fp32')
    images = batch_images(size)
    batch = batch_engine.infer_batch(images)
    assert len(batch) == size
    for heads, image in zip(batch, images):
        expected = engine.infer(image)
        np.testing.assert_array_equal(heads.logits, expected.logits)
        np.testing.assert_array_equal(heads.offsets, expected.offsets)
        np.testing.assert_array_equal(batch_engine.infer(image).logits, expected.logits)
    assert batch_engine.infer_batch(images[:0]) == []
    batch_engine.close()
    with pytest.raises(EngineError, match='closed'):
        batch_engine.infer_batch(images)


def test_batch_network_runs_a_bounded_number_of_images_at_once(batch_network, spec, monkeypatch):
    engine = OnnxRuntimeEngine(spec, batch_network, EngineOptions(threads=1), 'fp32')
    session, sizes = engine._session, []

    class CountingSession:
        def run(self, outputs, inputs):
            sizes.append(len(inputs['image']))
            return session.run(outputs, inputs)

    monkeypatch.setattr(engine, '_session', CountingSession())
    engine.infer_batch(batch_images(2 * MAX_BATCH + 3))
    assert sizes == [MAX_BATCH, MAX_BATCH, 3]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'logits_shape': ('batch', 12, 8)}, 'Incompatible dimensions'),
        ({'image_shape': ('batch', 8, 4, 3)}, r'expected a network with .*\[8, 8, 4, 3\]'),
        # Declares one image of the batch only: no session with a named dimension minds.
        ({'offsets_shape': (1, 24, 4)}, 'Inferred=8 Declared=1'),
        ({'offsets_shape': ('other', 24, 4)}, "'offsets' has none"),
    ],
)
def test_batch_networks_that_break_the_contract_are_refused(network, spec, changes, message):
    shapes = {'image_shape': ('batch', 4, 8, 3), 'logits_shape': ('batch', 24, 4)}
    shapes |= {'offsets_shape': ('batch', 24, 4)}
    model = network(**(shapes | changes)).serialise()
    with pytest.raises(EngineError, match=message):
        OnnxRuntimeEngine(spec, model, EngineOptions(threads=1), 'fp32')


# Providers.


class FakeSession:
    """
    What onnxruntime does on a machine whose providers are broken.

    :ivar opened: the arguments of all sessions.
    """

    opened: ClassVar[list] = []

    def __init__(self, network, options, providers, enable_fallback=1):
        self.real = onnxruntime.InferenceSession(network, providers=['CPUExecutionProvider'])
        self.providers = [name for name, _ in providers]
        self.keys = options.get_session_config_entry
        self.has_fallback = True
        assert not enable_fallback
        self.opened.append((self, providers))

    def get_providers(self):
        return [*self.providers, 'CPUExecutionProvider']

    def disable_fallback(self):
        self.has_fallback = False

    def __getattr__(self, name):
        return getattr(self.real, name)


class LostProvider(FakeSession):
    """A provider that is offered but cannot be loaded: a warning in the log is all."""

    def get_providers(self):
        return ['CPUExecutionProvider']


class FakeRuntime:
    """The module onnxruntime of a GPU build, with sessions of our own."""

    def __init__(self, session):
        self.InferenceSession = session

    def get_available_providers(self):
        return [
            'TensorrtExecutionProvider',
            'CUDAExecutionProvider',
            'OpenVINOExecutionProvider',
            'CPUExecutionProvider',
        ]

    def __getattr__(self, name):
        return getattr(onnxruntime, name)


PROVIDER_ENGINES = {
    CudaOnnxRuntimeEngine: 'CUDAExecutionProvider',
    TensorRtOnnxRuntimeEngine: 'TensorrtExecutionProvider',
    OpenVinoOnnxRuntimeEngine: 'OpenVINOExecutionProvider',
}


@pytest.fixture
def fake_session(monkeypatch):
    """Open networks of providers on the CPU."""
    FakeSession.opened.clear()
    monkeypatch.setattr(onnxruntime_engine, '_import_runtime', lambda: FakeRuntime(FakeSession))
    return FakeSession


@pytest.mark.parametrize(('engine_class', 'provider'), PROVIDER_ENGINES.items())
def test_provider_runs_the_network_without_fall_back(
    network, spec, factors, fake_session, engine_class, provider
):
    engine = engine_class(spec, network().serialise(), EngineOptions(threads=1), 'fp32')
    np.testing.assert_array_equal(
        engine.infer(picture()).offsets, picture().reshape(24, 4) * factors
    )
    assert engine.info.name == engine_class.name
    assert engine.info.device == provider
    ((session, providers),) = fake_session.opened
    assert providers[0][0] == provider
    assert session.keys('session.disable_cpu_ep_fallback') == '1'
    assert not session.has_fallback


@pytest.mark.parametrize('engine_class', PROVIDER_ENGINES)
def test_provider_that_is_not_installed_is_named(network, spec, engine_class):
    if PROVIDER_ENGINES[engine_class] in onnxruntime.get_available_providers():
        pytest.skip('this onnxruntime has the provider')
    assert 'pip install onnxruntime-' in engine_class.available()
    with pytest.raises(EngineUnavailableError, match=PROVIDER_ENGINES[engine_class]) as caught:
        engine_class(spec, network().serialise(), EngineOptions(threads=1), 'fp32')
    assert caught.value.engine == engine_class.name


def test_provider_that_does_not_load_is_refused(network, spec, monkeypatch):
    monkeypatch.setattr(onnxruntime_engine, '_import_runtime', lambda: FakeRuntime(LostProvider))
    with pytest.raises(EngineError, match='expected CUDAExecutionProvider .*chose CPUExecution'):
        CudaOnnxRuntimeEngine(spec, network().serialise(), EngineOptions(threads=1), 'fp32')


def test_real_session_refuses_a_provider_that_is_missing(network, spec, monkeypatch):
    # A name that this onnxruntime does not have is a UserWarning to it, and runs on the CPU.
    if 'CUDAExecutionProvider' in onnxruntime.get_available_providers():
        pytest.skip('this onnxruntime has the provider')
    monkeypatch.setattr(CudaOnnxRuntimeEngine, 'available', classmethod(lambda cls: None))
    with (
        pytest.warns(UserWarning, match='CUDAExecutionProvider'),
        pytest.raises(EngineError, match='that CUDAExecutionProvider can run: .*CPU EP'),
    ):
        CudaOnnxRuntimeEngine(spec, network().serialise(), EngineOptions(threads=1), 'fp32')


def test_tensorrt_provider_gets_its_options(network, spec, fake_session, tmp_path):
    options = EngineOptions(threads=1, cache=tmp_path, workspace_mib=64, dla_core=1)
    TensorRtOnnxRuntimeEngine(spec, network().serialise(), options, 'fp16')
    ((_, providers),) = fake_session.opened
    assert providers == [
        (
            'TensorrtExecutionProvider',
            {
                'trt_fp16_enable': 'True',
                'trt_int8_enable': 'False',
                'trt_max_workspace_size': '67108864',
                'trt_engine_cache_enable': 'True',
                'trt_engine_cache_path': str(tmp_path),
                'trt_timing_cache_enable': 'True',
                'trt_timing_cache_path': str(tmp_path),
                'trt_dla_enable': 'True',
                'trt_dla_core': '1',
            },
        ),
        ('CUDAExecutionProvider', {'use_tf32': '0'}),
    ]


# The shipped network.


@pytest.fixture(scope='module')
def shipped():
    """Open the shipped bundle."""
    return open_bundle(shipped_bundle_path())


@pytest.fixture(scope='module')
def shipped_engine(shipped):
    """Run the shipped network."""
    engine = open_engine(shipped, 'onnxruntime', EngineOptions(threads=1), 'fp32')
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
