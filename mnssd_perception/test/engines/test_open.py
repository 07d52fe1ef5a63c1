"""Tests of choosing an engine."""

from dataclasses import replace
import sys

from mnssd_perception.bundle import open_bundle, write_bundle
from mnssd_perception.engines import (
    EngineOptions,
    ENGINES,
    FallbackEngine,
    open_engine,
    open_onnx,
)
from mnssd_perception.engines import (
    open as open_module,
)
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
from mnssd_perception.engines.open import PRECISION_ORDER
from mnssd_perception.errors import (
    BundleError,
    EngineError,
    EngineUnavailableError,
    SettingsError,
)
import numpy as np
import pytest

pytest.importorskip('onnxruntime')
ONE = EngineOptions(threads=1)


@pytest.fixture
def bundle(bundle_of, network):
    """Make a bundle of the tiny network."""
    return bundle_of(network().serialise())


@pytest.mark.parametrize('name', ['auto', 'onnxruntime'])
def test_opens(bundle, name):
    engine = open_engine(bundle, name, ONE)
    assert engine.info.name == 'onnxruntime'
    assert engine.info.precision == 'fp32'
    assert engine.infer(np.zeros((4, 8, 3), np.uint8)).logits.shape == (24, 4)
    engine.close()


def test_options_need_not_be_given(bundle):
    open_engine(bundle).close()


@pytest.mark.parametrize('name', ['', 'AUTO', 'ONNXRuntime', 'tensorrt ', 'magic', None])
def test_unknown_names_are_refused(bundle, name):
    with pytest.raises(SettingsError, match='engine: expected one of auto, .*onnxruntime'):
        open_engine(bundle, name)


def test_a_missing_runtime_is_named(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(EngineUnavailableError, match='pip install onnxruntime') as caught:
        open_engine(bundle, 'onnxruntime')
    assert caught.value.engine == 'onnxruntime'
    with pytest.raises(EngineUnavailableError, match='pip install onnxruntime'):
        open_engine(bundle, 'auto')


@pytest.mark.parametrize('name', ['auto', 'onnxruntime'])
def test_a_bundle_for_other_engines_is_refused(bundle_of, network, name):
    bundle = bundle_of(network().serialise(), engine='hailo')
    with pytest.raises(EngineError, match=f"has no network for engine '{name}'; it has hailo"):
        open_engine(bundle, name, ONE)


@pytest.mark.parametrize('name', ['auto', 'onnxruntime'])
@pytest.mark.parametrize('content', [b'', b'not a network', b'\x08\x08'])
def test_a_bundle_of_no_network_is_refused(bundle_of, name, content):
    with pytest.raises(EngineError):
        open_engine(bundle_of(content), name, ONE)


def test_a_network_that_was_changed_since_is_refused(bundle):
    write_bundle(bundle.path, bundle.manifest, {'network.onnx': b'another'})
    for name in ('auto', 'onnxruntime'):
        with pytest.raises(BundleError):
            open_engine(bundle, name, ONE)


class UnavailableEngine(OnnxRuntimeEngine):
    """An engine whose hardware is missing."""

    @staticmethod
    def available():
        return 'there is no such hardware'


class FailingEngine(OnnxRuntimeEngine):
    """An engine that opens, and fails once it has run `images` images."""

    images = 1

    def _run(self, image):
        if not self.images:
            raise RuntimeError('device lost')
        self.images -= 1
        return super()._run(image)


@pytest.fixture
def three_engines(monkeypatch):
    """Offer three engines for an ONNX network to 'auto'."""
    for name, engine in (('unavailable', UnavailableEngine), ('failing', FailingEngine)):
        monkeypatch.setitem(ENGINES, name, engine)
        monkeypatch.setitem(PRECISION_ORDER, name, ('fp32',))
    order = ('unavailable', 'failing', 'onnxruntime')
    monkeypatch.setattr(open_module, 'AUTO_ORDER', {})
    monkeypatch.setattr(open_module, 'AUTO_ORDER_ELSEWHERE', order)
    return order


@pytest.fixture
def shared_bundle(bundle, three_engines):
    """Make a bundle whose network three engines can run."""
    (artefact,) = bundle.manifest.artefacts
    artefacts = tuple(replace(artefact, engine=name) for name in three_engines)
    manifest = replace(bundle.manifest, artefacts=artefacts)
    write_bundle(bundle.path, manifest, {artefact.path: bundle.read(artefact.path)})
    return open_bundle(bundle.path)


def test_auto_takes_the_first_that_works(shared_bundle):
    engine = open_engine(shared_bundle, 'auto', ONE)
    assert type(engine) is FailingEngine
    with pytest.raises(EngineUnavailableError, match="'unavailable' cannot be used here: there"):
        open_engine(shared_bundle, 'unavailable')


def test_fallback_engine_replaces_an_engine_that_fails(shared_bundle):
    image = np.random.default_rng(0).integers(0, 256, (4, 8, 3), np.uint8)
    engine = FallbackEngine(shared_bundle, options=ONE)
    assert [(str(item), item.is_failure) for item in engine.rejections] == [
        ('unavailable (fp32): there is no such hardware', False)
    ]
    first = engine.infer(image).logits.copy()
    np.testing.assert_array_equal(engine.infer(image).logits, first)
    assert [item.is_failure for item in engine.rejections] == [False, True]
    assert 'device lost' in str(engine.rejections[1])
    assert len(engine.infer_batch(image[None])) == 1
    engine.close()
    with pytest.raises(EngineError, match='closed'):
        engine.infer(image)


def test_fallback_engine_keeps_the_last_engine(shared_bundle, monkeypatch):
    monkeypatch.delitem(ENGINES, 'onnxruntime')
    monkeypatch.setattr(open_module, 'AUTO_ORDER_ELSEWHERE', ('unavailable', 'failing'))
    engine = FallbackEngine(shared_bundle, options=ONE)
    image = np.zeros((4, 8, 3), np.uint8)
    engine.infer(image)
    for _ in range(2):
        with pytest.raises(EngineError, match='device lost'):
            engine.infer(image)


def test_an_engine_that_is_not_verified_is_rejected(shared_bundle):
    def verify(engine):
        if type(engine) is FailingEngine:
            raise EngineError('other detections than those of the golden frames')

    engine = FallbackEngine(shared_bundle, options=ONE, verify=verify)
    assert type(engine._engine) is OnnxRuntimeEngine
    assert (
        str(engine.rejections[1]) == 'failing (fp32): other detections than those of the '
        'golden frames'
    )


def test_precision_chooses_the_network(bundle):
    assert open_engine(bundle, precision='fp32').info.precision == 'fp32'
    with pytest.raises(EngineError, match="no network for engine 'auto' in int8"):
        open_engine(bundle, precision='int8')
    with pytest.raises(SettingsError, match='precision: expected one of fp32'):
        open_engine(bundle, precision='int7')


def test_opens_a_network_without_a_bundle(network, spec):
    content = network().serialise()
    info = open_onnx(spec, content, 'auto', ONE).info
    assert (info.name, info.precision) == ('onnxruntime', 'fp32')
    assert str(info) == f'onnxruntime {info.version}, fp32, {info.device}'
