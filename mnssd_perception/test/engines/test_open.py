"""Tests of choosing an engine."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
import sys
from threading import Event

from mnssd_perception.bundle import (
    Artefact,
    file_entries,
    GateVerdict,
    open_bundle,
    write_bundle,
)
from mnssd_perception.engines import (
    EngineOptions,
    ENGINES,
    FallbackEngine,
    list_candidates,
    open_engine,
    open_onnx,
)
from mnssd_perception.engines import (
    open as open_module,
)
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
from mnssd_perception.engines.open import PRECISION_ORDER
from mnssd_perception.engines.openvino_engine import OpenVinoEngine
from mnssd_perception.errors import (
    BundleError,
    EngineError,
    EngineUnavailableError,
    ImageError,
    SelfTestError,
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


def test_fallback_engine_that_is_closed_while_it_opens_the_next_closes_both(shared_bundle):
    engine = FallbackEngine(shared_bundle, options=ONE)
    opened = []

    def close_meanwhile(successor):
        opened.append(successor)
        engine.close()

    engine._verify = close_meanwhile
    image = np.zeros((4, 8, 3), np.uint8)
    engine.infer(image)
    with pytest.raises(EngineError, match='device lost'):
        engine.infer(image)
    (successor,) = opened
    for each in (successor, engine):
        with pytest.raises(EngineError, match='closed'):
            each.infer(image)


def test_info_and_rejections_are_read_while_an_engine_is_replaced(shared_bundle):
    may_open, is_opening = Event(), Event()

    def wait(successor):
        is_opening.set()
        assert may_open.wait(10)

    engine = FallbackEngine(shared_bundle, options=ONE)
    engine._verify = wait
    image = np.zeros((4, 8, 3), np.uint8)
    engine.infer(image)
    with ThreadPoolExecutor(1) as worker:
        heads = worker.submit(engine.infer, image)
        assert is_opening.wait(10)
        assert [item.candidate.engine for item in engine.rejections] == ['unavailable']
        assert 'device lost' in engine.replacing.reason
        may_open.set()
        assert heads.result().logits.shape == (24, 4)
    assert [item.candidate.engine for item in engine.rejections] == ['unavailable', 'failing']
    assert engine.replacing is None


@pytest.mark.parametrize('error', [SelfTestError('b', 'e', 'f', 'r'), MemoryError(), OSError(5)])
def test_fallback_engine_raises_its_own_error_where_the_next_does_not_open(shared_bundle, error):
    engine = FallbackEngine(shared_bundle, options=ONE)

    def refuse(successor):
        raise error

    engine._verify = refuse
    image = np.zeros((4, 8, 3), np.uint8)
    engine.infer(image)
    for _ in range(2):
        with pytest.raises(EngineError, match='device lost'):
            engine.infer(image)
    assert [item.candidate.engine for item in engine.rejections] == ['unavailable', 'onnxruntime']


def test_fallback_engine_survives_a_bundle_that_has_changed(shared_bundle):
    engine = FallbackEngine(shared_bundle, options=ONE)
    image = np.zeros((4, 8, 3), np.uint8)
    engine.infer(image)
    write_bundle(shared_bundle.path, shared_bundle.manifest, {'network.onnx': b'another'})
    with pytest.raises(EngineError, match='device lost'):
        engine.infer(image)
    assert 'network.onnx' in engine.rejections[-1].reason


def test_engine_that_runs_out_of_memory_is_replaced(shared_bundle, monkeypatch):
    def run(self, image):
        raise MemoryError

    monkeypatch.setattr(FailingEngine, '_run', run)
    engine = FallbackEngine(shared_bundle, options=ONE)
    assert engine.infer(np.zeros((4, 8, 3), np.uint8)).logits.shape == (24, 4)
    assert engine.info.name == 'onnxruntime'


@pytest.mark.parametrize('has_cache', [True, False])
def test_openvino_fills_its_cache_before_it_is_needed(bundle, monkeypatch, tmp_path, has_cache):
    if OpenVinoEngine.available() is not None:
        pytest.skip('OpenVINO is not installed')
    monkeypatch.setitem(ENGINES, 'tensorrt', FailingEngine)
    monkeypatch.setitem(PRECISION_ORDER, 'tensorrt', ('fp32',))
    monkeypatch.setattr(open_module, 'AUTO_ORDER', {})
    order = ('tensorrt', 'openvino', 'onnxruntime')
    monkeypatch.setattr(open_module, 'AUTO_ORDER_ELSEWHERE', order)
    made = artefacts(*((engine, 'fp32', False) for engine in order))
    both = replace(bundle, manifest=replace(bundle.manifest, schema=2, artefacts=made))
    cache = tmp_path / 'cache'
    engine = FallbackEngine(both, options=replace(ONE, cache=cache if has_cache else None))
    assert engine.info.name == 'onnxruntime'  # of FailingEngine
    assert bool(list(cache.glob('openvino*'))) == has_cache
    image = np.zeros((4, 8, 3), np.uint8)
    for _ in range(2):
        engine.infer(image)
    assert engine.info.name == 'openvino'


def test_fault_of_an_image_replaces_no_engine(shared_bundle):
    engine = FallbackEngine(shared_bundle, options=ONE)
    with pytest.raises(ImageError):
        engine.infer(np.zeros((4, 9, 3), np.uint8))
    assert type(engine._engine) is FailingEngine


# The real table.


def artefacts(*items):
    """List ONNX artefacts by engine, precision and whether they take a batch."""
    return tuple(
        Artefact(
            'network_batch.onnx' if has_batch else 'network.onnx',
            engine,
            precision,
            has_batch=has_batch,
            gate=GateVerdict(True, (), 'test', 1, f'sha256:{"0" * 64}', 0.5, 0.5, 1, 0),
        )
        for engine, precision, has_batch in items
    )


@pytest.fixture
def all_artefacts(bundle):
    """List a network for both CPU engines in all precisions."""
    names = [(engine, precision, False) for engine in CPU_ENGINES for precision in CPU_PRECISIONS]
    made = artefacts(*names)
    return replace(bundle, manifest=replace(bundle.manifest, schema=2, artefacts=made))


CPU_ENGINES, CPU_PRECISIONS = ('onnxruntime', 'openvino'), ('fp32', 'int8', 'bf16')


def candidates(bundle, *args, **options):
    return [str(item) for item in list_candidates(bundle, *args, **options)]


@pytest.mark.parametrize(
    ('machine', 'expected'),
    [
        (
            'x86_64',
            ['openvino (int8)', 'openvino (fp32)', 'onnxruntime (int8)', 'onnxruntime (fp32)'],
        ),
        ('aarch64', ['onnxruntime (int8)', 'onnxruntime (fp32)']),
    ],
)
def test_auto_order_depends_on_the_processor(all_artefacts, monkeypatch, machine, expected):
    monkeypatch.setattr('platform.machine', lambda: machine)
    assert candidates(all_artefacts) == expected


def test_bf16_runs_on_request_only(all_artefacts):
    assert candidates(all_artefacts, 'openvino', 'bf16') == ['openvino (bf16)']
    assert not any('bf16' in item for item in candidates(all_artefacts))


def test_provider_takes_the_network_of_its_runtime(all_artefacts):
    assert candidates(all_artefacts, 'onnxruntime:cuda') == ['onnxruntime:cuda (fp32)']
    assert candidates(all_artefacts, 'onnxruntime:openvino') == [
        'onnxruntime:openvino (int8)',
        'onnxruntime:openvino (fp32)',
    ]


def test_every_engine_has_an_order_of_precisions_and_auto_names_engines():
    assert set(PRECISION_ORDER) == set(ENGINES)
    orders = (*open_module.AUTO_ORDER.values(), open_module.AUTO_ORDER_ELSEWHERE)
    for order in orders:
        assert set(order) <= set(ENGINES)
        assert not any(':' in name for name in order)
        assert order[-1] == 'onnxruntime'


def test_bundle_of_schema_1_opens_without_openvino_networks(bundle):
    assert bundle.manifest.schema == 1
    assert open_engine(bundle, 'auto', ONE).info.name == 'onnxruntime'


def test_batch_network_is_opened_on_request(bundle, network, batch_network):
    with pytest.raises(EngineError, match="engine 'auto' with a batch; it has onnxruntime"):
        open_engine(bundle, has_batch=True)
    files = {'network.onnx': network().serialise(), 'network_batch.onnx': batch_network}
    made = artefacts(('onnxruntime', 'fp32', True), ('onnxruntime', 'fp32', False))
    manifest = replace(bundle.manifest, schema=2, files=file_entries(files), artefacts=made)
    write_bundle(bundle.path, manifest, files)
    both = open_bundle(bundle.path)
    assert [item.artefact for item in list_candidates(both)] == [made[1]]
    with closing(open_engine(both, 'onnxruntime', ONE, has_batch=True)) as engine:
        assert len(engine.infer_batch(np.zeros((3, 4, 8, 3), np.uint8))) == 3
        assert engine._has_batch
