"""Tests of choosing an engine."""

import sys

from mnssd_perception.bundle import write_bundle
from mnssd_perception.engines import EngineOptions, ENGINES, open_engine, open_onnx
from mnssd_perception.errors import (
    BundleError,
    EngineError,
    EngineUnavailableError,
    MnssdError,
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
    with pytest.raises(SettingsError, match='engine: expected one of auto, onnxruntime'):
        open_engine(bundle, name)


def test_a_missing_runtime_is_named(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(EngineUnavailableError, match='pip install onnxruntime') as caught:
        open_engine(bundle, 'onnxruntime')
    assert caught.value.engine == 'onnxruntime'
    with pytest.raises(EngineError, match='no engine can run this network here; onnxruntime: '):
        open_engine(bundle, 'auto')


@pytest.mark.parametrize('name', ['auto', 'onnxruntime'])
def test_a_bundle_for_other_engines_is_refused(bundle_of, network, name):
    bundle = bundle_of(network().serialise(), engine='hailo')
    with pytest.raises(EngineError, match="has no network for engine 'onnxruntime'"):
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


def unavailable_engine(spec, network, options, precision):
    raise EngineUnavailableError('missing', 'there is no such hardware')


def failing_engine(spec, network, options, precision):
    raise EngineError('broke while loading')


def test_auto_takes_the_first_that_works(network, spec, monkeypatch):
    content = network().serialise()
    engine = ENGINES['onnxruntime']
    monkeypatch.delitem(ENGINES, 'onnxruntime')
    monkeypatch.setitem(ENGINES, 'missing', unavailable_engine)
    monkeypatch.setitem(ENGINES, 'failing', failing_engine)
    with pytest.raises(MnssdError, match=r'missing: there is no such.*failing: broke while'):
        open_onnx(spec, content)
    with pytest.raises(EngineUnavailableError, match="engine 'missing' cannot be used here"):
        open_onnx(spec, content, 'missing', ONE)
    monkeypatch.setitem(ENGINES, 'onnxruntime', engine)
    info = open_onnx(spec, content, 'auto', ONE).info
    assert (info.name, info.precision) == ('onnxruntime', 'fp32')
    assert str(info) == f'onnxruntime {info.version}, fp32, {info.device}'
