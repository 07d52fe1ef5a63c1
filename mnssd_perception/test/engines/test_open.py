"""Tests of choosing an engine."""

import sys

from mnssd_perception.bundle import write_bundle
from mnssd_perception.engines import EngineOptions, ENGINES, open_engine
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
    with pytest.raises(EngineError, match='no engine can run this bundle here; onnxruntime: '):
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


class Missing:
    """An engine that is not here."""

    @staticmethod
    def available():
        return 'there is no such hardware'


class Failing:
    """An engine that is here and fails."""

    @staticmethod
    def available():
        return None

    @classmethod
    def open(cls, bundle, options):
        raise EngineError('broke while loading')


def test_auto_takes_the_first_that_works(bundle, monkeypatch):
    for name in list(ENGINES):
        kind = ENGINES[name]
        monkeypatch.delitem(ENGINES, name)
    monkeypatch.setitem(ENGINES, 'missing', Missing)
    monkeypatch.setitem(ENGINES, 'failing', Failing)
    with pytest.raises(MnssdError, match=r'missing: there is no such.*failing: broke while'):
        open_engine(bundle, 'auto', ONE)
    with pytest.raises(EngineUnavailableError, match="engine 'missing' cannot be used here"):
        open_engine(bundle, 'missing', ONE)
    monkeypatch.setitem(ENGINES, 'onnxruntime', kind)
    assert open_engine(bundle, 'auto', ONE).info.name == 'onnxruntime'
