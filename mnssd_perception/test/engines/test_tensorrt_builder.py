"""Tests of building plans, in every version of TensorRT."""

import threading

from fake_tensorrt import ProcessDied
from mnssd_perception.engines import EngineOptions, tensorrt_builder
from mnssd_perception.engines.tensorrt_builder import build_plan, get_logger, major_version
from mnssd_perception.errors import EngineError
import pytest


@pytest.fixture
def content(network):
    """Serialise the tiny network."""
    return network().serialise()


@pytest.fixture
def quantized():
    """Make a network with QuantizeLinear and DequantizeLinear."""
    onnx = pytest.importorskip('onnx')
    from onnx import helper

    def value(name, kind, shape):
        return helper.make_tensor_value_info(name, kind, shape)

    def constant(name, kind, number):
        return helper.make_tensor(name, kind, [], [number])

    number, byte, small = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8, onnx.TensorProto.INT8
    nodes = [
        helper.make_node('Cast', ['image'], ['numbers'], to=number),
        helper.make_node('QuantizeLinear', ['numbers', 'scale', 'zero'], ['quantized']),
        helper.make_node('DequantizeLinear', ['quantized', 'scale', 'zero'], ['logits']),
    ]
    graph = helper.make_graph(
        nodes, 'g', [value('image', byte, [4, 8, 3])], [value('logits', number, [4, 8, 3])],
        [constant('scale', number, 1.0), constant('zero', small, 0)],
        value_info=[value('numbers', number, [4, 8, 3]), value('quantized', small, [4, 8, 3])],
    )  # fmt: skip
    opset = [helper.make_opsetid('', 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def build(tensorrt, content, precision='fp16', timing_cache=b'', **options):
    return build_plan(tensorrt, content, EngineOptions(**options), precision, timing_cache)


def test_an_empty_network_is_refused(tensorrt):
    with pytest.raises(EngineError):
        build(tensorrt, b'')


def test_a_network_that_onnx_check_refuses_never_reaches_tensorrt(tensorrt, network):
    with pytest.raises(EngineError, match='refers to another file'):
        build(tensorrt, network(external_factors='/etc/passwd').serialise())
    assert tensorrt.world.builds == []


@pytest.mark.parametrize(
    ('precision', 'flags'),
    [('fp32', []), ('fp16', ['FP16', 'TF32']), ('int8', ['FP16', 'INT8', 'TF32'])],
)
def test_flags_follow_precision_and_version(tensorrt, content, quantized, precision, flags):
    network = quantized if precision == 'int8' else content
    assert network in build(tensorrt, network, precision).plan
    (settings,) = tensorrt.world.builds
    is_strongly_typed = major_version(tensorrt) >= 11
    # From version 11 on, the types of the network decide.
    removed = {'FP16', 'INT8'} if is_strongly_typed else set()
    assert settings['flags'] == [flag for flag in flags if flag not in removed]
    # In version 11, bit 1 means something else.
    assert settings['creation_flags'] == (0 if is_strongly_typed else 1)


def test_names_of_layers_are_kept_for_a_profile(tensorrt, content):
    build(tensorrt, content)
    verbosity = tensorrt.ProfilingVerbosity
    kept = verbosity[tensorrt.world.builds[0]['verbosity']]
    assert kept is verbosity.LAYER_NAMES_ONLY


def test_int8_needs_a_quantised_network(tensorrt, content):
    with pytest.raises(EngineError, match='an int8 network with QuantizeLinear operators'):
        build(tensorrt, content, 'int8')


@pytest.mark.parametrize('precision', ['bf16', '', 'FP16'])
def test_other_precisions_are_refused(tensorrt, content, precision):
    with pytest.raises(EngineError, match='expected a precision of fp32, fp16, int8, got'):
        build(tensorrt, content, precision)


def test_workspace_is_in_bytes(tensorrt, content):
    build(tensorrt, content, workspace_mib=256)
    assert tensorrt.world.builds[0]['workspace'] == 256 * 1024**2


def test_a_failed_build_quotes_the_log(tensorrt, content):
    tensorrt.world.build_error = 'Error Code 10: no implementation for\x1b[31m node Conv_7'
    with pytest.raises(EngineError) as caught:
        build(tensorrt, content)
    assert str(caught.value) == (
        f'tensorrt {tensorrt.__version__} cannot build a plan: Error Code 10: no implementation '
        r'for\x1b[31m node Conv_7'
    )


def test_errors_of_an_earlier_build_are_not_quoted(tensorrt, content):
    tensorrt.world.build_error = 'first'
    for error in ('first', 'second'):
        tensorrt.world.build_error = error
        with pytest.raises(EngineError, match=f'cannot build a plan: {error}$'):
            build(tensorrt, content)


def test_a_network_that_the_parser_refuses_is_explained(tensorrt, network):
    with pytest.raises(EngineError) as caught:
        build(tensorrt, network(logits='columns').serialise())  # made twice
    message = str(caught.value)
    assert message.startswith('tensorrt cannot read the ONNX network: node 3')
    assert ('NonZero node_NonZero_7' in message) == (major_version(tensorrt) >= 10)


def test_a_builder_that_does_not_start_is_an_engine_error(tensorrt, content, monkeypatch):
    def start(self, logger):
        logger.log(tensorrt.ILogger.Severity.ERROR, 'CUDA initialization failure with error: 35')
        raise TypeError('pybind11::init(): factory function returned nullptr')

    monkeypatch.setattr(tensorrt.Builder, '__init__', start)
    with pytest.raises(EngineError, match='tensorrt does not start: CUDA initialization failure'):
        build(tensorrt, content)


def test_there_is_one_logger_which_the_bindings_accept(tensorrt, content):
    logger = get_logger(tensorrt)
    build(tensorrt, content)
    assert get_logger(tensorrt) is logger
    # Without ILogger.__init__, the bindings refuse it.
    assert logger._is_initialised


def test_the_log_keeps_the_last_errors_and_nothing_else(tensorrt):
    logger, severity = get_logger(tensorrt), tensorrt.ILogger.Severity
    logger.begin(None)
    for index in range(9):
        for level in severity:
            logger.log(level, f'{level.name} {index}')
    assert logger.describe_errors() == 'ERROR 7; INTERNAL_ERROR 7; ERROR 8; INTERNAL_ERROR 8'
    logger.begin(None)
    assert logger.describe_errors() == 'its log holds no error'


# Progress.


@pytest.fixture
def eager(monkeypatch):
    """Report every step."""
    monkeypatch.setattr(tensorrt_builder, 'PROGRESS_PERIOD', -1.0)


def test_progress_is_reported(tensorrt, content, eager):
    lines = []
    build(tensorrt, content, progress=lines.append)
    if major_version(tensorrt) >= 10:
        steps = [f'tensorrt: Building Engine: {step} of 3' for step in (1, 2, 3)]
        assert lines == steps
    else:  # no monitor before version 10
        assert lines == ['tensorrt: Local timing cache in use.']


def test_progress_is_reported_now_and_then(tensorrt, content):
    lines = []
    build(tensorrt, content, progress=lines.append)
    assert lines == []


@pytest.mark.parametrize('error', [KeyboardInterrupt(), ValueError('closed file')])
def test_an_exception_in_a_callback_ends_the_build_and_not_the_process(
    tensorrt, content, eager, error
):
    def fail(line):
        raise error

    with pytest.raises(type(error)) as caught:
        build(tensorrt, content, progress=fail)
    assert not isinstance(caught.value, ProcessDied)
    assert build(tensorrt, content).plan  # the logger is as good as new


def test_steps_may_come_from_other_threads(tensorrt, content, eager):
    lines = []
    world = tensorrt.world

    def build_in_a_thread():
        thread = threading.Thread(
            target=lambda: get_logger(tensorrt).log(tensorrt.ILogger.Severity.ERROR, 'from afar')
        )
        thread.start()
        thread.join()

    world.on_build = build_in_a_thread
    build(tensorrt, content, progress=lines.append)
    assert get_logger(tensorrt).describe_errors() == 'from afar'


# Timing cache.


def test_timings_make_the_next_build_faster(tensorrt, content):
    timings = build(tensorrt, content).timing_cache
    assert timings == b'timings of Fake Orin'
    build(tensorrt, content, timing_cache=timings)
    assert [item['timing_cache'] for item in tensorrt.world.builds] == [b'', timings]


@pytest.mark.parametrize('timings', [b'timings of another GPU', b'damaged'])
def test_timings_that_do_not_fit_are_not_used(tensorrt, content, timings):
    assert build(tensorrt, content, timing_cache=timings).plan
    assert tensorrt.world.builds[0]['timing_cache'] == b''


# Deep learning accelerators.


def test_a_dla_core_runs_what_it_can(tensorrt, content):
    tensorrt.world.num_dla_cores = 2
    build(tensorrt, content, dla_core=1)
    (settings,) = tensorrt.world.builds
    assert settings['dla_core'] == 1
    assert 'GPU_FALLBACK' in settings['flags']
    assert settings['adjusts_for_dla'] == hasattr(tensorrt.OnnxParserFlag, 'ADJUST_FOR_DLA')


@pytest.mark.parametrize(('num_cores', 'core'), [(0, 0), (2, 2)])
def test_a_dla_core_that_does_not_exist_is_refused(tensorrt, content, num_cores, core):
    tensorrt.world.num_dla_cores = num_cores
    message = f'expected a DLA core below {num_cores}, .*, got {core}; set dla_core to -1'
    with pytest.raises(EngineError, match=message):
        build(tensorrt, content, dla_core=core)


def test_a_dla_core_computes_no_fp32(tensorrt, content):
    tensorrt.world.num_dla_cores = 2
    with pytest.raises(EngineError, match='expected fp16 or int8 for a DLA core, got fp32'):
        build(tensorrt, content, 'fp32', dla_core=0)
