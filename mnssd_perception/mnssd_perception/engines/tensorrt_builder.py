"""
Build TensorRT plans from ONNX networks, with TensorRT 8.5 to 11.

TensorRT signals most failures by returning None or False, and says why only to its logger, so each
call is checked and the logger keeps what it is told. The module of TensorRT is passed in. Enum
members are never written as numbers, because these differ between versions.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
import time
from typing import Any

from mnssd_perception.engines.engine import EngineOptions
from mnssd_perception.engines.onnx_check import check_onnx, MAX_BATCH
from mnssd_perception.errors import EngineError
from mnssd_perception.text import sanitize_text

# Part of the key of cached plans: change it with anything here that changes plans.
BUILDER_REVISION = 1

# Flags of BuilderFlag that each precision needs below version 11. From there on the types of the
# ONNX network decide alone, and the flags do not exist.
PRECISION_FLAGS = {'fp32': (), 'fp16': ('FP16',), 'int8': ('FP16', 'INT8')}

MAX_MESSAGES = 4  # that an error quotes
PROGRESS_PERIOD = 2.0  # s


@dataclass(frozen=True)
class Built:
    """A serialised plan, and the timings that make the next build on this GPU faster."""

    plan: bytes
    timing_cache: bytes


def build_plan(
    trt: Any, network: bytes, options: EngineOptions, precision: str, timing_cache: bytes = b''
) -> Built:
    """
    Build a plan for the GPU of this machine, which takes minutes.

    :param trt: the module ``tensorrt``.
    :param network: a serialised ONNX network; for ``int8`` with QuantizeLinear and
        DequantizeLinear, for ``fp16`` from TensorRT 11 on with float16 tensors.
    :param timing_cache: of an earlier build; one that does not fit is not used.
    :raises EngineError: naming what the network, the options or TensorRT lack.
    """
    if precision not in PRECISION_FLAGS:
        raise EngineError(
            f'tensorrt: expected a precision of {", ".join(PRECISION_FLAGS)}, got {precision!r}'
        )
    check_onnx(network)
    if precision == 'int8' and b'QuantizeLinear' not in network:
        raise EngineError(
            'tensorrt: expected an int8 network with QuantizeLinear operators, got one without; '
            'export it with mnssd'
        )
    logger = get_logger(trt)
    report = _throttle(options.progress)
    # The monitor must outlive all objects of the build, so these live in another function.
    monitor = _make_monitor(trt, logger, report)
    logger.begin(report if monitor is None else None)
    try:
        return _build(trt, logger, monitor, network, options, precision, timing_cache)
    finally:
        logger.end()


def _build(
    trt: Any,
    logger: Any,
    monitor: Any,
    network: bytes,
    options: EngineOptions,
    precision: str,
    timing_cache: bytes,
) -> Built:
    builder = create(trt.Builder, logger)
    creation_flags = trt.NetworkDefinitionCreationFlag
    is_strongly_typed = major_version(trt) >= 11
    # Version 10 ignores the flag, 11 has no such attribute.
    explicit = 0 if is_strongly_typed else 1 << int(creation_flags.EXPLICIT_BATCH)
    definition = builder.create_network(explicit)
    config = builder.create_builder_config()
    parser = trt.OnnxParser(definition, logger)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    # Names in the plan make a profile per layer readable; more detail would slow it down.
    config.profiling_verbosity = trt.ProfilingVerbosity.LAYER_NAMES_ONLY
    if precision == 'fp32':
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default: a mantissa of 10 bits
    for flag in () if is_strongly_typed else PRECISION_FLAGS[precision]:
        config.set_flag(getattr(trt.BuilderFlag, flag))
    if options.dla_core >= 0:
        _use_dla(trt, builder, config, parser, options.dla_core, precision)
    if not parser.parse(network):
        raise EngineError(f'tensorrt cannot read the ONNX network: {_parser_errors(parser)}')
    _add_profile(builder, config, definition)
    timings = _use_timing_cache(config, timing_cache)
    if monitor is not None:
        config.progress_monitor = monitor
    plan = builder.build_serialized_network(definition, config)
    if logger.interrupt is not None:
        raise logger.interrupt
    if plan is None:
        raise EngineError(
            f'tensorrt {trt.__version__} cannot build a plan: {logger.describe_errors()}'
        )
    return Built(bytes(plan), b'' if timings is None else bytes(timings.serialize()))


def major_version(trt: Any) -> int:
    """Return the major version of TensorRT."""
    return int(trt.__version__.split('.')[0])


def create(factory: Callable[[Any], Any], logger: Any) -> Any:
    """
    Create a builder or a runtime.

    :raises EngineError: if it does not start, which the bindings report as a TypeError.
    """
    try:
        return factory(logger)
    except TypeError as error:
        raise EngineError(f'tensorrt does not start: {logger.describe_errors()}') from error


@cache
def get_logger(trt: Any) -> Any:
    """
    Return the logger of this process, which keeps the last errors.

    libnvinfer keeps the first logger that it is given for ever, so there is only one. Nothing may
    be raised in it: an exception would pass through C++ and end the process.

    :return: an ``ILogger`` with the methods ``begin(report)``, ``end()`` and
        ``describe_errors()``, and an attribute ``interrupt``, which holds a Ctrl-C.
    """
    severe = (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR)
    info = trt.ILogger.Severity.INFO

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # without it, the bindings abort on first use
            self.begin(None)

        def begin(self, report: Callable[[str], None] | None) -> None:
            self._errors: deque[str] = deque(maxlen=MAX_MESSAGES)
            self._report = report
            self.interrupt: BaseException | None = None

        def end(self) -> None:
            self._report = self.interrupt = None

        def log(self, severity: Any, msg: str) -> None:
            try:
                if severity in severe:
                    self._errors.append(sanitize_text(msg, 300))
                elif severity == info and self._report is not None:
                    self._report(msg)
            except BaseException as error:
                self.interrupt = error

        def describe_errors(self) -> str:
            return '; '.join(self._errors) or 'its log holds no error'

    return Logger()


def _make_monitor(trt: Any, logger: Any, report: Callable[[str], None]) -> Any:
    """Make a monitor of the progress, which TensorRT 10 and later call; None before."""
    if not hasattr(trt, 'IProgressMonitor'):
        return None

    class Monitor(trt.IProgressMonitor):
        """Called by several threads; nothing may be raised here, see :func:`get_logger`."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._num_steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._num_steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                report(f'{phase_name}: {step + 1} of {self._num_steps.get(phase_name, "?")}')
            except BaseException as error:
                logger.interrupt = error
            return logger.interrupt is None  # False ends the build

        def phase_finish(self, phase_name: str) -> None:
            self._num_steps.pop(phase_name, None)

    return Monitor()


def _throttle(progress: Callable[[str], None]) -> Callable[[str], None]:
    """Pass on one line in a while."""
    last = time.monotonic()

    def report(line: str) -> None:
        nonlocal last
        if time.monotonic() - last > PROGRESS_PERIOD:
            last = time.monotonic()
            progress(f'tensorrt: {sanitize_text(line)}')

    return report


def _use_dla(trt: Any, builder: Any, config: Any, parser: Any, core: int, precision: str) -> None:
    """Let a deep learning accelerator run the layers that it can, and the GPU the others."""
    if core >= builder.num_DLA_cores:
        raise EngineError(
            f'tensorrt {trt.__version__}: expected a DLA core below {builder.num_DLA_cores}, the '
            f'number of them that it can use here, got {core}; set dla_core to -1 for the GPU'
        )
    if precision == 'fp32':
        raise EngineError('tensorrt: expected fp16 or int8 for a DLA core, got fp32')
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)  # else layers that DLA cannot run are errors
    if hasattr(trt.OnnxParserFlag, 'ADJUST_FOR_DLA'):
        parser.set_flag(trt.OnnxParserFlag.ADJUST_FOR_DLA)


def _parser_errors(parser: Any) -> str:
    """Describe the errors of a parser, whose accessors are methods."""
    lines = []
    for index in range(min(parser.num_errors, MAX_MESSAGES)):
        error = parser.get_error(index)
        node = f'node {error.node()}'
        if hasattr(error, 'node_name'):  # from version 10 on
            node += f' ({error.node_operator()} {error.node_name()})'
        lines.append(sanitize_text(f'{node}: {error.desc()}', 300))
    return '; '.join(lines) or 'its parser gives no reason'


def _add_profile(builder: Any, config: Any, definition: Any) -> None:
    """Let a network with a free batch size take 1 to ``MAX_BATCH`` images."""
    image = definition.get_input(0)
    shape = tuple(image.shape)
    if -1 not in shape:
        return
    if shape[0] != -1 or -1 in shape[1:]:
        raise EngineError(f'tensorrt: expected a free batch size at most, got an input of {shape}')
    profile = builder.create_optimization_profile()
    one, many = (1, *shape[1:]), (MAX_BATCH, *shape[1:])
    profile.set_shape(image.name, one, one, many)
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(f'tensorrt takes no batches of 1 to {MAX_BATCH} for this network')


def _use_timing_cache(config: Any, content: bytes) -> Any:
    """Use the timings of an earlier build; start without where they are of another device."""
    for candidate in (content, b''):
        with suppress(Exception):  # a damaged cache only costs time
            timings = config.create_timing_cache(candidate)
            if timings is not None and config.set_timing_cache(timings, False):
                return config.get_timing_cache()
    return None
