"""Tests of the OpenVINO engine, on tiny networks and on the shipped one."""

from dataclasses import replace
import os
import subprocess
import sys
import threading

from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.engines import EngineOptions, openvino_engine
from mnssd_perception.engines.onnx_check import MAX_BATCH
from mnssd_perception.engines.onnxruntime_engine import OnnxRuntimeEngine
from mnssd_perception.engines.openvino_engine import OpenVinoEngine
from mnssd_perception.engines.plan_cache import PlanCache
from mnssd_perception.errors import EngineError, EngineUnavailableError, ImageError
import numpy as np
import pytest

# Not importorskip: that would import it with its telemetry.
if OpenVinoEngine.available() is not None:
    pytest.skip('OpenVINO is not installed', allow_module_level=True)

ONE = EngineOptions(threads=1)


def random_image(seed=0, *batch):
    """Make noise of the size of the tiny input."""
    return np.random.default_rng(seed).integers(0, 256, (*batch, 4, 8, 3), np.uint8)


@pytest.fixture
def engine(network, spec):
    """Run the tiny network."""
    made = OpenVinoEngine(spec, network().serialise(), ONE, 'fp32')
    yield made
    made.close()


@pytest.fixture
def cached(tmp_path):
    """Use a cache that is empty at first."""
    return EngineOptions(threads=1, cache=tmp_path / 'cache')


@pytest.fixture
def float_network(spec):
    """Make a network with a convolution."""
    return convolution_network(spec)


@pytest.fixture
def quantised_network(spec):
    """Make a network with a quantised convolution."""
    return convolution_network(spec, is_quantised=True)


def convolution_network(spec, is_quantised=False):
    """Make a network of the contract with one 1 x 1 convolution of 4 channels."""
    onnx = pytest.importorskip('onnx')
    make, tensor = onnx.helper.make_node, onnx.numpy_helper.from_array
    height, width = spec.input_size
    weights = np.random.default_rng(0).integers(-127, 127, (4, 3, 1, 1)) / 128
    initializers = [
        tensor(np.array([1, height, width, 3]), 'nhwc'),
        tensor(np.array([spec.num_priors, 4]), 'heads'),
        tensor(np.array([height * width, 4]), 'cells'),
        tensor(np.array([0] * 16 + list(range(8))), 'order'),
    ]
    shapes = {'numbers': (height, width, 3), 'batch': (1, height, width, 3)}
    shapes |= {'nchw': (1, 3, height, width), 'conv': (1, 4, height, width)}
    shapes |= {'channels': (1, height, width, 4), 'rows': (height * width, 4)}
    nodes = [
        make('Cast', ['image'], ['numbers'], to=onnx.TensorProto.FLOAT),
        make('Reshape', ['numbers', 'nhwc'], ['batch']),
        make('Transpose', ['batch'], ['nchw'], perm=[0, 3, 1, 2]),
    ]
    data, kernel, output = 'nchw', 'weights', 'conv'
    types = {}
    if is_quantised:
        initializers += [
            tensor(np.float32(2), 'scale'),
            tensor(np.uint8(0), 'zero'),
            tensor(np.float32(1 / 128), 'weight_scale'),
            tensor(np.int8(0), 'weight_zero'),
            tensor((weights * 128).astype(np.int8), 'weights'),
        ]
        nodes += [
            make('QuantizeLinear', ['nchw', 'scale', 'zero'], ['nchw_q']),
            make('DequantizeLinear', ['nchw_q', 'scale', 'zero'], ['nchw_dq']),
            make('DequantizeLinear', ['weights', 'weight_scale', 'weight_zero'], ['weights_dq']),
        ]
        data, kernel = 'nchw_dq', 'weights_dq'
        shapes |= {'nchw_q': shapes['nchw'], 'nchw_dq': shapes['nchw'], 'weights_dq': (4, 3, 1, 1)}
        types = {'nchw_q': onnx.TensorProto.UINT8}
    else:
        initializers.append(tensor(weights.astype(np.float32), 'weights'))
    nodes += [
        make('Conv', [data, kernel], [output]),
        make('Transpose', [output], ['channels'], perm=[0, 2, 3, 1]),
        make('Reshape', ['channels', 'cells'], ['rows']),
        make('Gather', ['rows', 'order'], ['logits']),
        make('Gather', ['rows', 'order'], ['offsets']),
    ]
    info = onnx.helper.make_tensor_value_info
    float_type = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        'convolution',
        [info('image', onnx.TensorProto.UINT8, (height, width, 3))],
        [info(name, float_type, (spec.num_priors, 4)) for name in ('logits', 'offsets')],
        initializers,
        value_info=[
            info(name, types.get(name, float_type), sides) for name, sides in shapes.items()
        ],
    )
    opset = onnx.helper.make_opsetid('', 18)
    model = onnx.helper.make_model(graph, ir_version=8, opset_imports=[opset])
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def test_black(engine):
    heads = engine.infer(np.zeros((4, 8, 3), np.uint8))
    assert not heads.logits.any()
    assert not heads.offsets.any()


def test_heads_are_fresh_at_each_call(engine, factors):
    for seed in range(10):
        heads = engine.infer(random_image(seed))
        columns = random_image(seed).reshape(24, 4).astype(np.float32)
        np.testing.assert_array_equal(heads.logits, columns)
        np.testing.assert_array_equal(heads.offsets, columns * factors)


def test_image_is_neither_kept_nor_changed(engine):
    image = random_image()
    image.flags.writeable = False
    heads = engine.infer(image)
    np.testing.assert_array_equal(image, random_image())
    assert not np.shares_memory(heads.logits, image)


def test_several_images_need_no_batch_network(engine):
    images = random_image(1, 3)
    heads = engine.infer_batch(images)
    np.testing.assert_array_equal(heads[2].logits, images[2].reshape(24, 4))
    assert engine.infer_batch(images[:0]) == []


def test_info_names_version_precision_and_cpu(engine):
    assert engine.info.name == 'openvino'
    assert engine.info.precision == 'fp32'
    assert engine.info.version.count('.') == 2
    assert engine.info.device


def test_two_engines_run_side_by_side(network, spec, engine, factors):
    other = OpenVinoEngine(spec, network().serialise(), EngineOptions(threads=2), 'fp32')
    wrong = []

    def run(own, seeds):
        for seed in seeds:
            heads = own.infer(random_image(seed))
            if not np.array_equal(heads.logits, random_image(seed).reshape(24, 4)):
                wrong.append(seed)

    threads = [
        threading.Thread(target=run, args=(engine, range(50))),
        threading.Thread(target=run, args=(other, range(50, 100))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_threads_are_not_pinned(network, spec):
    before = os.sched_getaffinity(0)
    engine = OpenVinoEngine(spec, network().serialise(), EngineOptions(threads=1), 'fp32')
    engine.infer(random_image())
    assert os.sched_getaffinity(0) == before


def test_closed_engine_is_refused(engine):
    heads = engine.infer(random_image())
    engine.close()
    engine.close()
    np.testing.assert_array_equal(heads.logits, random_image().reshape(24, 4))
    with pytest.raises(EngineError, match="engine 'openvino' is closed"):
        engine.infer(random_image())


def test_nan_heads_are_refused(network, spec):
    factors = (1.0, float('nan'), 1.0, 1.0)
    engine = OpenVinoEngine(spec, network(factors=factors).serialise(), ONE, 'fp32')
    with pytest.raises(EngineError, match='finite offsets, got 24 NaN'):
        engine.infer(random_image())


@pytest.mark.parametrize(
    ('changes', 'found'),
    [
        ({'image': 'input'}, "'input'"),
        ({'logits': 'scores'}, "'scores'"),
        ({'image_type': 1}, r"'image': \('\[4,8,3\]', 'f32'\)"),
        ({'logits_type': 10}, r"'logits': \('\[24,4\]', 'f16'\)"),
        ({'image_shape': (8, 4, 3)}, r"'image': \('\[8,4,3\]'"),
        ({'image_shape': (1, 4, 8, 3)}, r"'image': \('\[1,4,8,3\]'"),
        ({'third_output': True}, "'gate'"),
    ],
)
def test_networks_that_break_the_contract_are_refused(network, spec, changes, found):
    with pytest.raises(EngineError, match=f"expected a network with .*'image'.*got .*{found}"):
        OpenVinoEngine(spec, network(**changes).serialise(), ONE, 'fp32')


def test_network_of_another_specification_is_refused(network, spec):
    with pytest.raises(EngineError, match='expected a network with'):
        other = replace(spec, class_names=('a', 'b'))
        OpenVinoEngine(other, network().serialise(), ONE, 'fp32')


@pytest.mark.parametrize('model', [b'', b'\0', b'not ONNX', b'<?xml version="1.0"?><net/>'])
def test_other_content_is_refused(spec, model):
    with pytest.raises(EngineError, match='ONNX|OpenVINO can load'):
        OpenVinoEngine(spec, model, ONE, 'fp32')


def test_cut_networks_are_refused(network, spec):
    model = network().serialise()
    for length in range(0, len(model), 11):
        with pytest.raises(EngineError):
            OpenVinoEngine(spec, model[:length], ONE, 'fp32')


def test_weights_outside_the_file_are_refused(network, spec):
    model = network(external_factors='/etc/hostname').serialise()
    with pytest.raises(EngineError, match="'factors' refers to another file"):
        OpenVinoEngine(spec, model, ONE, 'fp32')


def test_true_shapes_count_rather_than_the_declared_ones(spec, float_network):
    # OpenVINO ignores the shapes in the file, which are what check_onnx adds up.
    onnx = pytest.importorskip('onnx')
    model = onnx.load_from_string(float_network)
    tensor = onnx.numpy_helper.from_array
    model.graph.initializer.append(tensor(np.ones(1, np.float32), 'one'))
    model.graph.initializer.append(tensor(np.array([1 << 34]), 'shape'))
    model.graph.node.append(onnx.helper.make_node('Expand', ['one', 'shape'], ['huge']))
    declared = onnx.helper.make_tensor_value_info('huge', onnx.TensorProto.FLOAT, [1])
    model.graph.value_info.append(declared)
    model.graph.output.append(declared)  # else nothing needs it
    with pytest.raises(EngineError, match=r'at most \d+ values together, got [0-9]{11};'):
        OpenVinoEngine(spec, model.SerializeToString(), ONE, 'fp32')


# Precisions.


def test_quantised_network_runs_in_int8(spec, float_network, quantised_network):
    engine = OpenVinoEngine(spec, quantised_network, ONE, 'int8')
    assert engine.info.precision == 'int8'
    expected = OpenVinoEngine(spec, float_network, ONE, 'fp32')
    assert expected.info.precision == 'fp32'
    image = random_image() // 2 * 2  # which the scale of the network keeps exactly
    np.testing.assert_allclose(engine.infer(image).logits, expected.infer(image).logits, atol=1e-3)


def test_layers_that_are_not_quantised_are_counted(spec, quantised_network, monkeypatch):
    engine = OpenVinoEngine(spec, quantised_network, ONE, 'int8')
    types = ['u8', 'i8', 'f32', 'u8']

    class Text(str):
        def astype(self, kind):
            return self

    class Node:
        def __init__(self, kind):
            self.info = {'layerType': Text('Convolution'), 'runtimePrecision': Text(kind)}

        def get_rt_info(self):
            return self.info

    class Compiled:
        def get_runtime_model(self):
            return self

        def get_ops(self):
            return map(Node, types)

    assert 'convolutions' not in engine.info.device
    note = openvino_engine._check_precision(Compiled(), 'int8')
    assert note == ', 1 of 4 convolutions in fp32'
    types[0] = 'f32'
    with pytest.raises(EngineError, match='convolutions in int8, OpenVINO runs 2 in fp32, 2 in'):
        openvino_engine._check_precision(Compiled(), 'int8')


@pytest.mark.parametrize('precision', ['int8', 'fp16', '', 'int4'])
def test_precision_that_does_not_run_is_refused(spec, float_network, precision):
    with pytest.raises(EngineError, match=f'expected (convolutions in|precision).*{precision}'):
        OpenVinoEngine(spec, float_network, ONE, precision)


def test_quantised_network_is_refused_as_float(spec, quantised_network):
    with pytest.raises(EngineError, match='expected convolutions in fp32.* runs 1 in int8'):
        OpenVinoEngine(spec, quantised_network, ONE, 'fp32')


def test_bf16_runs_or_is_refused_by_the_cpu(spec, float_network):
    try:
        engine = OpenVinoEngine(spec, float_network, ONE, 'bf16')
    except EngineUnavailableError as error:
        assert 'no bfloat16' in error.reason
    else:
        assert engine.info.precision == 'bf16'


def test_bf16_is_refused_on_a_cpu_without_it(spec, float_network, monkeypatch):
    openvino = openvino_engine._import_runtime()

    class OldCore(openvino.Core):
        def get_property(self, device, name):
            value = super().get_property(device, name)
            return ['FP32', 'INT8'] if name == 'OPTIMIZATION_CAPABILITIES' else value

    monkeypatch.setattr(openvino_engine, 'open_core', OldCore)
    with pytest.raises(EngineUnavailableError, match='no bfloat16.*only FP32, INT8'):
        OpenVinoEngine(spec, float_network, ONE, 'bf16')


SIGNAL_AFTER_ENGINES = """
import signal, sys
from mnssd_perception.bundle import open_bundle
from mnssd_perception.engines import EngineOptions
from mnssd_perception.engines.openvino_engine import OpenVinoEngine
import faulthandler
faulthandler.enable()  # signals get a stack of their own, as with pytest and many programs
bundle = open_bundle(sys.argv[1])
network = bundle.read('network.onnx')
engines = [OpenVinoEngine(bundle.manifest.spec, network, EngineOptions(1)) for _ in range(3)]
while engines:
    engines.pop(0).close()
signal.signal(signal.SIGUSR1, lambda *_: print('handled', flush=True))
signal.raise_signal(signal.SIGUSR1)
"""


def test_a_signal_is_handled_after_engines_were_closed(bundle_of, network):
    command = [sys.executable, '-c', SIGNAL_AFTER_ENGINES]
    command.append(str(bundle_of(network().serialise()).path))
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, 'handled\n'), done.stderr


def test_a_forked_process_is_told_that_it_cannot_run_it(engine):
    child = os.fork()
    if not child:
        os._exit(0 if 'process that forked' in (OpenVinoEngine.available() or '') else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert engine.available() is None


# The cache.


def compile_again(*_):
    raise AssertionError('expected the network of the cache')


def test_cached_network_gives_the_same_heads(spec, float_network, cached, monkeypatch):
    first = OpenVinoEngine(spec, float_network, cached, 'fp32').infer(random_image())
    monkeypatch.setattr(PlanCache, 'store', compile_again)
    engine = OpenVinoEngine(spec, float_network, cached, 'fp32')
    np.testing.assert_array_equal(engine.infer(random_image()).logits, first.logits)
    assert engine.info.precision == 'fp32'


@pytest.mark.parametrize(
    'damage',
    [
        lambda content: b'',
        lambda content: content[:100],
        lambda content: content[:-1],
        lambda content: content[:-40] + bytes([content[-40] ^ 1]) + content[-39:],
    ],
    ids=['empty', 'cut', 'one byte less', 'flipped bit'],
)
def test_damaged_cache_is_compiled_again(spec, float_network, cached, damage, monkeypatch):
    OpenVinoEngine(spec, float_network, cached, 'fp32')
    (plan,) = (cached.cache / 'openvino').iterdir()
    plan.write_bytes(damage(plan.read_bytes()))
    OpenVinoEngine(spec, float_network, cached, 'fp32').infer(random_image())
    monkeypatch.setattr(PlanCache, 'store', compile_again)
    OpenVinoEngine(spec, float_network, cached, 'fp32').infer(random_image())


def test_plan_that_openvino_cannot_import_is_compiled_again(
    spec, float_network, cached, monkeypatch
):
    monkeypatch.setattr(PlanCache, 'load', lambda *_: (b'a plan of another OpenVINO', ''))
    OpenVinoEngine(spec, float_network, cached, 'fp32').infer(random_image())


def test_other_networks_and_options_have_other_files(spec, float_network, network, cached):
    OpenVinoEngine(spec, float_network, cached, 'fp32')
    OpenVinoEngine(spec, network().serialise(), cached, 'fp32')
    OpenVinoEngine(spec, float_network, replace(cached, threads=2), 'fp32')
    assert len(list((cached.cache / 'openvino').iterdir())) == 3


def test_unusable_cache_costs_only_time(spec, float_network, tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    options = EngineOptions(threads=1, cache=tmp_path / 'file' / 'cache')
    OpenVinoEngine(spec, float_network, options, 'fp32').infer(random_image())


# Batches.


@pytest.mark.parametrize('size', [1, 2, MAX_BATCH, MAX_BATCH + 1, 3 * MAX_BATCH])
def test_batch_network_equals_single_images(batch_network, network, spec, size):
    engine = OpenVinoEngine(spec, batch_network, ONE, 'fp32')
    single = OpenVinoEngine(spec, network().serialise(), ONE, 'fp32')
    images = random_image(2, size)
    batch = engine.infer_batch(images)
    assert len(batch) == size
    for heads, image in zip(batch, images):
        expected = single.infer(image)
        np.testing.assert_array_equal(heads.logits, expected.logits)
        np.testing.assert_array_equal(heads.offsets, expected.offsets)
        np.testing.assert_array_equal(engine.infer(image).logits, expected.logits)
    assert engine.infer_batch(images[:0]) == []


# The runtime.


def test_missing_runtime_is_named(monkeypatch, network, spec):
    monkeypatch.setitem(sys.modules, 'openvino', None)
    assert 'pip install openvino' in OpenVinoEngine.available()
    with pytest.raises(EngineUnavailableError, match='cannot be used here'):
        OpenVinoEngine(spec, network().serialise(), ONE, 'fp32')


def run_python(code, home):
    kept = {key: os.environ[key] for key in ('PATH', 'LD_LIBRARY_PATH') if key in os.environ}
    own = {'HOME': str(home), 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, '-c', code], env=kept | own, check=True, capture_output=True, text=True
    ).stdout


def test_telemetry_is_off(tmp_path):
    code = """
import sys
from mnssd_perception.engines.openvino_engine import OpenVinoEngine
assert OpenVinoEngine.available() is None
assert not any(name.startswith('openvino_telemetry.') for name in sys.modules)
"""
    run_python(code, tmp_path)
    assert not list(tmp_path.rglob('*'))  # no identifier of the user


# The shipped network.


@pytest.fixture(scope='module')
def shipped():
    """Open the shipped bundle."""
    return open_bundle(shipped_bundle_path())


def test_shipped_network_equals_onnx_runtime(shipped):
    pytest.importorskip('onnxruntime')
    artefact = shipped.manifest.artefacts[0]
    spec, network = shipped.manifest.spec, shipped.read(artefact.path)
    engine = OpenVinoEngine(spec, network, ONE, 'fp32')
    noise = np.random.default_rng(0).integers(0, 256, (*spec.input_size, 3), np.uint8)
    heads = engine.infer(noise)
    expected = OnnxRuntimeEngine(spec, network, ONE, 'fp32').infer(noise)
    np.testing.assert_allclose(heads.logits, expected.logits, atol=1e-4)
    np.testing.assert_allclose(heads.offsets, expected.offsets, atol=1e-4)
    with pytest.raises(ImageError):
        engine.infer(np.zeros((480, 640, 3), np.uint8))


@pytest.mark.slow
def test_flipped_bytes_never_end_the_process(network, spec, tmp_path):
    # OpenVINO's parser is C++: what it does with damaged files, it does to the whole process.
    (tmp_path / 'network.onnx').write_bytes(network().serialise())
    code = f"""
import random
from mnssd_perception.engines import EngineOptions
from mnssd_perception.engines.openvino_engine import OpenVinoEngine
from mnssd_perception.errors import EngineError
from mnssd_perception.ssd import FeatureMap, ModelSpec, Normalisation
spec = {spec!r}
content = open({str(tmp_path / 'network.onnx')!r}, 'rb').read()
choice = random.Random(0)
for _ in range(300):
    damaged = bytearray(content)
    damaged[choice.randrange(len(damaged))] = choice.randrange(256)
    try:
        OpenVinoEngine(spec, bytes(damaged), EngineOptions(threads=1), 'fp32').close()
    except EngineError:
        print('refused')
"""
    assert run_python(code, tmp_path).count('refused') > 30
