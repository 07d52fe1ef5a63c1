"""Tests of the TensorRT engine from start to end, in every version of TensorRT."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
import gc
import subprocess
import sys
import threading
import time
from types import ModuleType

from mnssd_perception.bundle import open_bundle, shipped_bundle_path, write_bundle
from mnssd_perception.engines import EngineOptions, FallbackEngine, open_engine, open_onnx
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
from mnssd_perception.engines.tensorrt_engine import TensorRtEngine
from mnssd_perception.errors import EngineError, EngineUnavailableError
import numpy as np
import pytest


def picture(seed=0):
    """Make noise of the size of the tiny input."""
    return np.random.default_rng(seed).integers(0, 256, (4, 8, 3), np.uint8)


@pytest.fixture
def lines():
    """Collect the progress."""
    return []


@pytest.fixture
def open_tiny(tensorrt, network, spec, tmp_path, lines):
    """Open the tiny network in TensorRT."""
    engines = []

    def make(content=None, precision='fp16', rebuild=False, **options):
        options = {'cache': tmp_path, 'progress': lines.append, **options}
        content = network().serialise() if content is None else content
        engine = TensorRtEngine(
            spec, content, EngineOptions(**options), precision, rebuild=rebuild
        )
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def world(tensorrt):
    """Control what happens beside the network."""
    return tensorrt.world


def check(engine, factors, seeds=(1, 2, 3)):
    """Compare with what the tiny network computes."""
    for seed in seeds:
        heads = engine.infer(picture(seed))
        columns = picture(seed).reshape(24, 4).astype(np.float32)
        np.testing.assert_array_equal(heads.logits, columns)
        np.testing.assert_array_equal(heads.offsets, columns * factors)
        assert heads.logits.dtype == heads.offsets.dtype == np.float32


def test_black(open_tiny):
    heads = open_tiny().infer(np.zeros((4, 8, 3), np.uint8))
    assert not heads.logits.any()
    assert not heads.offsets.any()


def test_each_image_has_its_own_heads(open_tiny, factors):
    check(open_tiny(), factors)


@pytest.fixture
def shipped():
    """Read the network of the shipped bundle, as the exporter writes it."""
    bundle = open_bundle(shipped_bundle_path())
    return bundle.manifest.spec, bundle.read(bundle.artefact('onnxruntime', 'fp32').path)


@pytest.mark.parametrize('tensorrt', ['10.3.0'], indirect=True)
def test_a_network_that_moves_the_bytes_of_its_image_is_refused(tensorrt, shipped):
    pytest.importorskip('onnx')
    with pytest.raises(EngineError, match='cannot build a plan: UINT8 is not supported'):
        TensorRtEngine(*shipped, precision='fp32')


@pytest.mark.parametrize('tensorrt', ['10.3.0'], indirect=True)
def test_heads_equal_those_of_onnx_runtime_on_the_shipped_network(tensorrt, shipped):
    onnx = pytest.importorskip('onnx')
    spec, network = shipped
    proto = onnx.load_from_string(network)
    first, last, cast = proto.graph.node[:3]  # Unsqueeze, Transpose; TensorRT wants the Cast first
    kept = [info for info in proto.graph.value_info if info.name not in first.output[:]]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(info for info in kept if info.name not in last.output[:])
    last.output[0] = cast.output[0]
    first.input[0] = 'numbers'
    proto.graph.node.insert(0, onnx.helper.make_node('Cast', ['image'], ['numbers'], to=1))
    del proto.graph.node[3]
    moved = onnx.shape_inference.infer_shapes(proto).SerializeToString()
    engines = TensorRtEngine(spec, moved, precision='fp32'), OnnxRuntimeEngine(spec, network)
    image = np.random.default_rng(0).integers(0, 256, (*spec.input_size, 3), np.uint8)
    one, other = (engine.infer(image) for engine in engines)
    np.testing.assert_allclose(one.logits, other.logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(one.offsets, other.offsets, rtol=1e-4, atol=1e-4)
    for engine in engines:
        engine.close()


def test_info_names_version_precision_and_gpu(open_tiny, tensorrt):
    info = open_tiny().info
    assert str(info) == (
        f'tensorrt {tensorrt.__version__}, fp16, Fake Orin, compute capability 8.7'
    )


def test_the_image_is_neither_kept_nor_changed(open_tiny):
    engine, image = open_tiny(), picture()
    image.flags.writeable = False
    heads = engine.infer(image)
    np.testing.assert_array_equal(image, picture())
    assert not np.shares_memory(heads.logits, image)


def test_an_image_of_any_layout_is_taken(open_tiny):
    engine = open_tiny()
    wide = np.repeat(picture(), 2, axis=1)
    heads = engine.infer(wide[:, ::2])
    np.testing.assert_array_equal(heads.logits, picture().reshape(24, 4))


def test_images_may_come_together(open_tiny):
    images = np.stack([picture(seed) for seed in range(5)])
    heads = open_tiny().infer_batch(images)
    for image, each in zip(images, heads):
        np.testing.assert_array_equal(each.logits, image.reshape(24, 4))


@pytest.mark.parametrize('num', [1, 3, 8, 19])
def test_a_network_of_any_batch_size_runs_several_images_at_once(
    open_tiny, batch_network, cudart, num
):
    engine = open_tiny(batch_network)
    images = np.stack([picture(seed) for seed in range(num)])
    cudart.calls.clear()
    heads = engine.infer_batch(images)
    assert cudart.calls.count('cudaStreamSynchronize') == -(-num // 8)
    for image, each in zip(images, heads, strict=True):
        np.testing.assert_array_equal(each.logits, image.reshape(24, 4))


def test_a_network_of_any_batch_size_runs_single_images(open_tiny, batch_network, factors):
    engine = open_tiny(batch_network)
    assert not engine.uses_graph
    check(engine, factors)
    engine.infer_batch(np.zeros((5, 4, 8, 3), np.uint8))
    check(engine, factors)
    assert engine.profile(2)[0].milliseconds == 0.75


# The device.


def test_without_a_gpu_tensorrt_is_not_even_imported(monkeypatch, cudart, network, spec):
    class Untouchable(ModuleType):
        def __getattr__(self, name):
            raise AssertionError(f'tensorrt.{name} crashes without a driver')

    cudart.num_devices = 0
    monkeypatch.setitem(sys.modules, 'tensorrt', Untouchable('tensorrt'))
    assert 'cudaErrorInsufficientDriver (35)' in TensorRtEngine.available()
    with pytest.raises(EngineUnavailableError, match='the NVIDIA GPU cannot be used'):
        TensorRtEngine(spec, network().serialise())


def test_a_machine_without_cuda_says_so():
    script = (
        'from mnssd_perception.engines.tensorrt_engine import TensorRtEngine as Engine; import sys'
        '; print(Engine.available()); sys.exit("tensorrt" in sys.modules)'
    )
    ran = subprocess.run(
        [sys.executable, '-c', script], env={'PYTHONPATH': ':'.join(sys.path)}, timeout=60,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    reason = ran.stdout.strip()
    if reason == 'None':
        pytest.skip('there is a GPU with TensorRT')
    assert ran.returncode == 0
    assert any(part in reason for part in ('no CUDA runtime', 'GPU cannot be used', 'TensorRT'))


def test_a_missing_tensorrt_is_named(monkeypatch, cudart):
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    reason = TensorRtEngine.available()
    assert 'install TensorRT (JetPack: sudo apt install python3-libnvinfer)' in reason


def test_a_broken_installation_is_a_reason(monkeypatch, cudart):
    def fail():
        raise OSError('libnvinfer.so.10: cannot open shared object file')

    monkeypatch.setattr('mnssd_perception.engines.tensorrt_engine._import_tensorrt', fail)
    assert TensorRtEngine.available().startswith('libnvinfer.so.10')


def test_a_gpu_with_tensorrt_is_available(tensorrt):
    assert TensorRtEngine.available() is None


@pytest.mark.parametrize('spinning', [False, True])
def test_threads_sleep_while_the_gpu_works_unless_they_shall_spin(open_tiny, cudart, spinning):
    open_tiny(spinning=spinning)
    assert ('cudaSetDeviceFlags' in cudart.calls) != spinning


# CUDA graphs.


def test_a_frame_is_one_launch(open_tiny, cudart, factors):
    engine = open_tiny()
    assert engine.uses_graph
    cudart.calls.clear()
    check(engine, factors, seeds=[7])
    assert cudart.calls == ['cudaGraphLaunch', 'cudaStreamSynchronize']


@pytest.mark.parametrize(
    'failure',
    ['cudaStreamBeginCapture', 'cudaStreamEndCapture', 'cudaGraphInstantiateWithFlags',
     'cudaGraphLaunch', 'execute_async_v3', 'other heads', 'CUDA 11.3'],
)  # fmt: skip
def test_without_a_graph_each_call_is_enqueued(open_tiny, cudart, world, lines, factors, failure):
    if failure == 'execute_async_v3':
        world.captures = False
    elif failure == 'other heads':
        world.graph_scale = 1.5
    elif failure == 'CUDA 11.3':
        cudart.missing.add('cudaGraphInstantiateWithFlags')
    else:
        cudart.failures[failure] = 900
    engine = open_tiny()
    assert not engine.uses_graph
    assert lines[-1].startswith('tensorrt: runs without a CUDA graph: ')
    assert cudart.calls.count('cudaGetLastError') == 1
    check(engine, factors)
    assert cudart.count('graph') == cudart.count('executable graph') == 0


def test_a_dla_core_runs_without_a_graph(open_tiny, world, factors):
    world.num_dla_cores = 1
    engine = open_tiny(dla_core=0)
    assert not engine.uses_graph
    assert engine._runtime.DLA_core == 0
    assert engine.info.device.endswith('compute capability 8.7, DLA core 0')
    check(engine, factors)


# Plans.


def test_a_plan_is_built_once(open_tiny, world, lines, tmp_path, factors):
    first = open_tiny()
    assert first.plan_path.parent == tmp_path / 'tensorrt'
    assert first.plan_path.is_file()
    assert lines[0].startswith('tensorrt: builds an engine for Fake Orin')
    assert lines[1].startswith('tensorrt: built in 0 s')
    lines.clear()
    second = open_tiny()
    assert (len(world.builds), lines) == (1, [])
    assert second.plan_path == first.plan_path
    check(second, factors)


def test_a_plan_is_built_again_on_request(open_tiny, world):
    open_tiny()
    open_tiny(rebuild=True)
    assert [item['timing_cache'] for item in world.builds] == [b'', b'timings of Fake Orin']


@pytest.mark.parametrize('changed', ['gpu', 'precision', 'network', 'workspace_mib', 'revision'])
def test_another_machine_network_or_setting_gets_its_own_plan(
    open_tiny, world, network, lines, monkeypatch, changed, cudart
):
    open_tiny()
    lines.clear()
    options = {}
    if changed == 'gpu':
        cudart.gpu = 'Fake Xavier'
    elif changed == 'precision':
        options['precision'] = 'fp32'
    elif changed == 'network':
        options['content'] = network(factors=(1.0, 0.25, -1.0, 3.0)).serialise()
    elif changed == 'workspace_mib':
        options['workspace_mib'] = 64
    else:
        monkeypatch.setattr('mnssd_perception.engines.tensorrt_engine.BUILDER_REVISION', 0)
    open_tiny(**options)
    assert len(world.builds) == 2
    if changed != 'network':
        assert f'.plan is for {changed} ' in lines[0]


def test_a_plan_of_another_version_is_not_loaded(open_tiny, tensorrt, world, lines, monkeypatch):
    old = open_tiny().plan_path
    later = f'{tensorrt.__version__}.99'
    monkeypatch.setattr(tensorrt, '__version__', later)
    lines.clear()
    assert open_tiny().plan_path != old
    assert "is for tensorrt '" in lines[0]
    assert f"instead of '{later}'" in lines[0]
    assert len(world.builds) == 2


def test_a_damaged_plan_is_never_loaded(open_tiny, world, lines, factors):
    path = open_tiny().plan_path
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)
    lines.clear()
    check(open_tiny(), factors)
    assert 'its digest differs: it is damaged' in lines[0]
    assert len(world.builds) == 2


def test_a_sound_plan_that_tensorrt_refuses_is_built_again(open_tiny, world, lines, factors):
    open_tiny()
    lines.clear()
    world.refused_plans = 1
    check(open_tiny(), factors)
    assert lines[0] == (
        'tensorrt: builds again, the plan cannot be loaded: the plan was built by another version'
    )
    assert len(world.builds) == 2


def test_a_new_plan_that_tensorrt_refuses_is_an_error(open_tiny, world, cudart):
    world.refused_plans = 2
    with pytest.raises(EngineError, match='cannot load the plan that it has just built: the plan'):
        open_tiny()
    assert cudart.live == {}
    world.refused_plans = 2
    with pytest.raises(EngineError, match='cannot load the plan that it has just built'):
        open_tiny()  # with that plan in the cache: one build, no endless loop
    assert len(world.builds) == 2


def test_without_a_cache_the_plan_is_built_each_time(open_tiny, world, lines, factors):
    for _ in range(2):
        engine = open_tiny(cache=None)
        assert engine.plan_path is None
        check(engine, factors)
    assert len(world.builds) == 2
    assert 'there is no cache folder: the next start builds again' in lines


def test_a_cache_that_cannot_be_written_is_no_error(open_tiny, tmp_path, lines, factors):
    (tmp_path / 'tensorrt').touch()
    check(open_tiny(), factors)
    assert any('cannot be kept, the next start builds again' in line for line in lines)


@pytest.mark.parametrize('tensorrt', ['10.3.0'], indirect=True)
def test_two_starts_at_once_build_one_plan(open_tiny, world, lines, factors):
    started = threading.Event()

    def wait_for_the_other():
        started.set()
        while 'waiting for another process that builds a plan' not in lines:
            time.sleep(0.01)

    world.on_build = wait_for_the_other
    with ThreadPoolExecutor() as pool:
        first = pool.submit(open_tiny)
        started.wait(20)
        engines = open_tiny(), first.result(20)
    for engine in engines:
        check(engine, factors)
    assert len(world.builds) == 1


def test_a_failed_build_is_an_engine_error(open_tiny, world, cudart):
    world.build_error = 'Error Code 4: internal'
    with pytest.raises(EngineError, match='cannot build a plan: Error Code 4: internal'):
        open_tiny()
    assert cudart.live == {}


# The contract.


@pytest.mark.parametrize(
    'changes',
    [
        {'image': 'input'},
        {'image_type': 1},
        {'image_shape': (8, 4, 3)},
        {'logits': 'scores'},
        {'logits_type': 10},
        {'logits_shape': (4, 24), 'offsets_shape': (4, 24), 'factors': (1.0,) * 24},
        {'third_output': True},
    ],
    ids=str,
)
def test_other_networks_are_refused(open_tiny, network, cudart, changes):
    with pytest.raises(EngineError, match='expected a network with {.image.: '):
        open_tiny(network(**changes).serialise())
    assert cudart.live == {}


# Errors in flight.


@pytest.mark.parametrize(
    ('function', 'code'),
    [('cudaStreamSynchronize', 700), ('cudaGraphLaunch', 1)],
)
def test_a_device_that_fails_in_flight_is_an_engine_error(open_tiny, cudart, function, code):
    engine = open_tiny()
    cudart.failures[function] = code
    with pytest.raises(EngineError, match=f'{function} failed with cudaError'):
        engine.infer(picture())


def test_an_execution_that_is_refused_is_an_engine_error(open_tiny, world):
    world.captures = False
    engine = open_tiny()
    world.runs = False
    with pytest.raises(EngineError, match='tensorrt does not run: enqueueV3 failed'):
        engine.infer(picture())


def test_closing_a_broken_device_raises_nothing(open_tiny, cudart):
    engine = open_tiny()
    cudart.failures = dict.fromkeys(
        ('cudaStreamSynchronize', 'cudaFree', 'cudaStreamDestroy', 'cudaGraphExecDestroy'), 700
    )
    engine.close()


@pytest.mark.parametrize(
    'function', ['cudaStreamCreateWithFlags', 'cudaMallocHost', 'cudaMalloc', 'cudaMemcpyAsync']
)
def test_a_start_that_fails_leaves_nothing_behind(open_tiny, cudart, function):
    cudart.failures[function] = 2
    with pytest.raises(EngineError, match=f'{function} failed with cudaErrorMemoryAllocation'):
        open_tiny()
    gc.collect()
    assert cudart.live == {}


def test_a_broken_device_builds_nothing(open_tiny, cudart, world):
    cudart.failures['cudaStreamCreateWithFlags'] = 700
    with pytest.raises(EngineError, match='cudaErrorIllegalAddress'):
        open_tiny()
    assert world.builds == []


def test_too_little_memory_for_a_context_is_an_engine_error(open_tiny, world, cudart):
    world.has_memory = False
    with pytest.raises(EngineError, match='cannot run the plan: .* OutOfMemory; is there memory'):
        open_tiny()
    gc.collect()
    assert cudart.live == {}


# Lifetimes.


def test_objects_end_in_the_reverse_order_of_their_creation(open_tiny, world, cudart):
    engine = open_tiny()
    engine.infer(picture())
    engine.close()
    assert world.events == ['context', 'engine', 'runtime']
    calls = [name for name in cudart.calls if 'Destroy' in name or name == 'cudaFree']
    assert calls[-5:] == ['cudaGraphExecDestroy', *['cudaFree'] * 3, 'cudaStreamDestroy']
    gc.collect()
    assert cudart.live == {}


def test_heads_outlive_the_engine(open_tiny, cudart):
    engine = open_tiny()
    heads = engine.infer(picture())
    engine.close()
    np.testing.assert_array_equal(heads.logits, picture().reshape(24, 4))
    assert cudart.count('pinned') == 2
    del heads
    assert cudart.live == {}


def test_a_closed_engine_runs_no_more(open_tiny):
    engine = open_tiny()
    for _ in range(2):
        engine.close()
    with pytest.raises(EngineError, match="'tensorrt' is closed"):
        engine.infer(picture())
    with pytest.raises(EngineError, match="'tensorrt' is closed"):
        engine.profile()


# Profile.


def test_profile_lists_the_slowest_layer_first(open_tiny, factors, world):
    engine = open_tiny()
    layers = engine.profile(4)
    assert [(layer.name, layer.milliseconds) for layer in layers] == [
        ('head', 0.75), ('stem', 0.25),
    ]  # fmt: skip
    assert world.events == ['context']
    check(engine, factors)


# By name, and among other engines.


@pytest.fixture
def shared_bundle(bundle_of, network):
    """Make a bundle for TensorRT in float16 and ONNX Runtime in float32."""
    bundle = bundle_of(network().serialise())
    (artefact,) = bundle.manifest.artefacts
    artefacts = (artefact, replace(artefact, engine='tensorrt', precision='fp16'))
    manifest = replace(bundle.manifest, artefacts=artefacts)
    write_bundle(bundle.path, manifest, {artefact.path: bundle.read(artefact.path)})
    return open_bundle(bundle.path)


def test_auto_prefers_tensorrt(tensorrt, shared_bundle):
    engine = open_engine(shared_bundle)
    assert (engine.info.name, engine.info.precision) == ('tensorrt', 'fp16')
    engine.close()


def test_a_gpu_that_is_lost_in_flight_is_replaced(tensorrt, shared_bundle, cudart, factors):
    engine = FallbackEngine(shared_bundle)
    check(engine, factors)
    cudart.failures = dict.fromkeys(
        ('cudaStreamSynchronize', 'cudaFree', 'cudaStreamDestroy', 'cudaGraphExecDestroy'), 700
    )
    check(engine, factors)
    assert engine.info.name == 'onnxruntime'
    (rejection,) = [item for item in engine.rejections if item.candidate.engine == 'tensorrt']
    assert rejection.is_failure
    assert 'cudaErrorIllegalAddress' in rejection.reason


def test_without_a_gpu_auto_takes_another_engine(tensorrt, shared_bundle, cudart, factors):
    cudart.num_devices = 0
    engine = FallbackEngine(shared_bundle)
    check(engine, factors)
    assert [item.is_failure for item in engine.rejections] == [False]


def test_open_onnx_runs_fp32(tensorrt, network, spec):
    engine = open_onnx(spec, network().serialise(), 'tensorrt')
    assert engine.info.precision == 'fp32'
    assert tensorrt.world.builds[0]['flags'] == []
    engine.close()
