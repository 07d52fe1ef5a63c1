"""
The part of TensorRT's Python bindings that mnssd uses, for machines without a GPU.

A plan holds the ONNX network, which ONNX Runtime runs on the memory of :mod:`fake_cuda`. Members
that a version lacks are missing here too, by the records of the real bindings in ``trt_api``.
What crashes or is refused there does so here: see the names of the exceptions and the tests.
"""

from collections.abc import Callable, Iterator
import ctypes
from enum import Enum
from functools import wraps
import inspect
import json
from pathlib import Path
from types import ModuleType
import typing
import weakref

import numpy as np

RECORDS = Path(__file__).parent / 'trt_api'
VERSIONS = ('8.6.1', '10.3.0', '10.13.3.9', '11.4.0.106')
DTYPES = {'tensor(uint8)': 'UINT8', 'tensor(float)': 'FLOAT', 'tensor(float16)': 'HALF'}


class ProcessDied(BaseException):
    """What ends the process in the real bindings: no handler of errors may catch it."""


def read_record(version: str) -> dict:
    """Read what the real bindings of a version have."""
    return json.loads((RECORDS / f'{version}.json').read_text())


class Dims:
    """A shape, which is no tuple."""

    def __init__(self, sides: tuple[int, ...]) -> None:
        self._sides = sides

    def __iter__(self) -> Iterator[int]:
        return iter(self._sides)

    def __len__(self) -> int:
        return len(self._sides)

    def __getitem__(self, index: int) -> int:
        return self._sides[index]


class HostMemory:
    """Memory of the library; converts to bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __bytes__(self) -> bytes:
        return self._content


def typed(method: Callable) -> Callable:
    """Refuse arguments of other types than the annotations, as pybind11 does."""
    signature = inspect.signature(method)

    @wraps(method)
    def checked(*arguments: object, **named: object) -> object:
        hints = typing.get_type_hints(method)
        bound = signature.bind(*arguments, **named)
        for name, value in bound.arguments.items():
            expected = hints.get(name)
            if expected is not None and not isinstance(value, expected):
                raise TypeError(
                    f'{method.__name__}(): incompatible function arguments: {name}={value!r}'
                )
        return method(*arguments, **named)

    return checked


class World:
    """
    What happens beside the network.

    :ivar cudart: the fake runtime of CUDA.
    :ivar num_dla_cores: of the machine.
    :ivar build_error: logged when a build is started, which then fails.
    :ivar captures: networks can be captured into graphs.
    :ivar graph_scale: factor of the heads in a captured graph.
    :ivar runs: `execute_async_v3` returns True.
    :ivar builds: settings of each build.
    :ivar events: names of the objects that were destroyed, in that order.
    :ivar has_memory: for an execution context.
    :ivar refused_plans: number of plans that are not loaded from now on.
    :ivar on_build: called during each build.
    """

    def __init__(self, cudart: typing.Any) -> None:
        self.cudart = cudart
        self.num_dla_cores = 0
        self.build_error = ''
        self.captures = self.runs = self.has_memory = True
        self.graph_scale = 1.0
        self.builds: list[dict] = []
        self.events: list[str] = []
        self.refused_plans = 0
        self.on_build: Callable[[], None] = lambda: None


class Bound:
    """A class of the bindings: without the members that its version lacks, and no others."""

    record: typing.ClassVar[dict] = {}
    trt: typing.ClassVar[ModuleType]

    def __getattribute__(self, name: str) -> object:
        get = super().__getattribute__
        hidden = name not in get('record') and not hasattr(Bound, name)
        if hidden and not name.startswith('_') and name in vars(get('_base')):
            raise AttributeError(f'version {get("trt").__version__} has no {name}')
        return get(name)

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith('_') and self.record.get(name) != 'rw':
            raise AttributeError(f"can't set attribute {name}")
        super().__setattr__(name, value)

    @property
    def _world(self) -> World:
        return self.trt.world


class ILogger(Bound):
    """Base class of loggers, whose ``__init__`` must be called."""

    def __init__(self) -> None:
        self._is_initialised = True

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


class IProfiler(ILogger):
    """Base class of profilers."""


class IProgressMonitor(ILogger):
    """Base class of monitors."""


def _call_back(function: Callable, *arguments: object) -> object:
    """Call Python from C++, where an exception ends the process."""
    try:
        return function(*arguments)
    except BaseException as error:
        raise ProcessDied('an exception in a callback') from error


def _check_logger(owner: Bound, logger: ILogger) -> None:
    if not hasattr(logger, '_is_initialised'):
        raise TypeError('ILogger.__init__() must be called when overriding __init__')
    if not owner._world.cudart.num_devices:
        raise ProcessDied('TensorRT without a driver')
    owner._logger = logger


def _log(owner: Bound, text: str, severity: str = 'ERROR') -> None:
    _call_back(owner._logger.log, getattr(owner.trt.ILogger.Severity, severity), text)


class Builder(Bound):
    """Builds plans."""

    def __init__(self, logger: ILogger) -> None:
        if not isinstance(logger, ILogger):
            raise TypeError('__init__(): incompatible constructor arguments')
        _check_logger(self, logger)

    @property
    def num_DLA_cores(self) -> int:  # noqa: N802
        return self._world.num_dla_cores

    def create_network(self, flags: int = 0) -> object:
        allowed = sum(1 << int(flag) for flag in self.trt.NetworkDefinitionCreationFlag)
        if flags & ~allowed:
            raise TypeError('unknown flags')
        network = self.trt.INetworkDefinition()
        network._flags, network._onnx, network._session = flags, b'', None
        return network

    def create_builder_config(self) -> object:
        return self.trt.IBuilderConfig()

    def create_optimization_profile(self) -> object:
        profile = self.trt.IOptimizationProfile()
        profile._shapes = {}
        return profile

    def build_serialized_network(
        self, network: 'INetworkDefinition', config: 'IBuilderConfig'
    ) -> object:
        names = sorted(flag.name for flag in config._flags)
        self._world.builds.append(
            {
                'flags': names,
                'creation_flags': network._flags,
                'workspace': config._pools.get('WORKSPACE'),
                'timing_cache': bytes(config._timing_cache._content or b''),
                'dla_core': config._dla_core,
                'adjusts_for_dla': network._adjusts_for_dla,
                'verbosity': config._verbosity,
            }
        )
        self._world.on_build()
        _log(self, 'Local timing cache in use.', 'INFO')
        if self._world.build_error:
            _log(self, self._world.build_error)
            return None
        if config._monitor is not None and not self._report(config._monitor):
            return None
        image = network._session.get_inputs()[0]
        is_dynamic = any(not isinstance(side, int) for side in image.shape)
        if is_dynamic and not config._profiles:
            _log(self, 'Network has dynamic inputs, but no optimization profile')
            return None
        if _users_of_image(network._onnx) != {'Cast'}:
            # https://github.com/NVIDIA/TensorRT/issues/3985
            _log(self, 'UINT8 is not supported by the layer that the image feeds')
            return None
        is_old = int(self.trt.__version__.split('.')[0]) < 11
        if is_old and b'QuantizeLinear' in network._onnx and 'INT8' not in names:
            _log(self, 'Int8 precision has been set for a layer, but int8 is not configured')
            return None
        if config._dla_core >= 0 and ('GPU_FALLBACK' not in names or is_dynamic):
            _log(self, 'DLA validation failed')
            return None
        config._timing_cache._content = b'timings of ' + self._world.cudart.gpu.encode()
        header = {
            'version': self.trt.__version__,
            'gpu': self._world.cudart.gpu,
            'profile': config._profiles[0]._shapes if config._profiles else {},
        }
        return HostMemory(json.dumps(header).encode() + b'\n' + network._onnx)

    @staticmethod
    def _report(monitor: IProgressMonitor) -> bool:
        _call_back(monitor.phase_start, 'Building Engine', None, 3)
        for step in range(3):
            if not _call_back(monitor.step_complete, 'Building Engine', step):
                return False
        _call_back(monitor.phase_finish, 'Building Engine')
        return True


def _users_of_image(network: bytes) -> set[str]:
    """List the operators that the input feeds; without the onnx package, what it should be."""
    try:
        import onnx
    except ImportError:
        return {'Cast'}
    graph = onnx.load_from_string(network).graph
    return {node.op_type for node in graph.node if graph.input[0].name in node.input}


class INetworkDefinition(Bound):
    """A network that the parser fills."""

    _adjusts_for_dla = False

    @property
    def num_inputs(self) -> int:
        return len(self._session.get_inputs())

    def get_input(self, index: int) -> object:
        tensor = self.trt.ITensor()
        tensor._value = self._session.get_inputs()[index]
        return tensor


class ITensor(Bound):
    """A tensor of a network."""

    @property
    def name(self) -> str:
        return self._value.name

    @property
    def shape(self) -> Dims:
        return _dims(self._value)


def _dims(value: typing.Any) -> Dims:
    return Dims(tuple(side if isinstance(side, int) else -1 for side in value.shape))


class IOptimizationProfile(Bound):
    """Shapes of dynamic inputs."""

    def set_shape(self, input: str, min: tuple, opt: tuple, max: tuple) -> None:
        if not all(low <= middle <= high for low, middle, high in zip(min, opt, max)):
            raise ValueError('inconsistent shapes')
        self._shapes[input] = [min, opt, max]


class ITimingCache(Bound):
    """Timings of earlier builds."""

    def serialize(self) -> object:
        return HostMemory(self._content)


class IBuilderConfig(Bound):
    """Settings of a build."""

    def __init__(self) -> None:
        self._flags = {self.trt.BuilderFlag.TF32}
        self._pools: dict[str, int] = {}
        self._profiles: list = []
        self._timing_cache = self.create_timing_cache(b'')
        self._monitor = self._device = self._verbosity = None
        self._dla_core = -1

    def set_flag(self, flag: Enum) -> None:
        self._flags.add(self.trt.BuilderFlag(flag))

    def clear_flag(self, flag: Enum) -> None:
        self._flags.discard(self.trt.BuilderFlag(flag))

    def set_memory_pool_limit(self, pool: Enum, pool_size: int) -> None:
        self._pools[self.trt.MemoryPoolType(pool).name] = pool_size

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> object:
        timings = self.trt.ITimingCache()
        timings._content = serialized_timing_cache
        is_sound = serialized_timing_cache.startswith(b'timings of ')
        return timings if is_sound or not serialized_timing_cache else None

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        gpu = self._world.cudart.gpu.encode()
        fits = cache._content in (b'', b'timings of ' + gpu)
        if fits or ignore_mismatch:
            self._timing_cache = cache
        return fits or ignore_mismatch

    def get_timing_cache(self) -> object:
        return self._timing_cache

    def _set_monitor(self, monitor: IProgressMonitor) -> None:
        assert hasattr(monitor, '_is_initialised')
        self._monitor = monitor

    def _set_dla_core(self, core: int) -> None:
        assert self._device == self.trt.DeviceType.DLA
        self._dla_core = core

    def _set_device(self, device: Enum) -> None:
        self._device = device

    def _set_verbosity(self, verbosity: Enum) -> None:
        self._verbosity = self.trt.ProfilingVerbosity(verbosity).name

    progress_monitor = property(None, _set_monitor)
    DLA_core = property(None, _set_dla_core)
    default_device_type = property(None, _set_device)
    profiling_verbosity = property(None, _set_verbosity)


class ParserError(Bound):
    """What the parser does not like. The accessors are methods."""

    def node(self) -> int:
        return 3

    def desc(self) -> str:
        return self._text

    def node_name(self) -> str:
        return 'node_NonZero_7'

    def node_operator(self) -> str:
        return 'NonZero'


class OnnxParser(Bound):
    """Reads ONNX networks."""

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        if not isinstance(logger, ILogger):
            raise TypeError('__init__(): incompatible constructor arguments')
        self._network, self._logger, self._errors = network, logger, []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def set_flag(self, flag: Enum) -> None:
        self._network._adjusts_for_dla |= flag == self.trt.OnnxParserFlag.ADJUST_FOR_DLA

    def get_error(self, index: int) -> object:
        error = self.trt.ParserError()
        error._text = self._errors[index]
        return error

    def parse(self, model: bytes, path: str = '') -> bool:
        import onnxruntime

        flags = self.trt.NetworkDefinitionCreationFlag
        is_old = self.trt.__version__.startswith('8.')
        if is_old and not self._network._flags & 1 << int(flags.EXPLICIT_BATCH):
            self._errors.append('this version expects explicit batches')
            return False
        try:
            self._network._session = onnxruntime.InferenceSession(
                model, providers=['CPUExecutionProvider']
            )
        except Exception as error:
            self._errors.append(str(error))
            return False
        self._network._onnx = model
        return True


class Runtime(Bound):
    """Loads plans."""

    def __init__(self, logger: ILogger) -> None:
        if not isinstance(logger, ILogger):
            raise TypeError('__init__(): incompatible constructor arguments')
        _check_logger(self, logger)
        self._dla_core = -1

    DLA_core = property(
        lambda self: self._dla_core, lambda self, core: setattr(self, '_dla_core', core)
    )

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> object:
        import onnxruntime

        head, _, onnx = serialized_engine.partition(b'\n')
        try:
            header = json.loads(head)
            fits = header['version'] == self.trt.__version__
            fits &= header['gpu'] == self._world.cudart.gpu
        except ValueError:
            fits = False
        if self._world.refused_plans:
            self._world.refused_plans -= 1
            fits = False
        if not fits:
            _log(self, 'the plan was built by another version')
            return None
        engine = self.trt.ICudaEngine()
        engine._logger, engine._profile = self._logger, header['profile']
        engine._session = onnxruntime.InferenceSession(onnx, providers=['CPUExecutionProvider'])
        _follow(engine, 'engine', self)
        _follow(self, 'runtime')
        return engine


def _follow(item: Bound, name: str, owner: Bound | None = None) -> None:
    """Note the end of an object, which must come before that of its owner."""
    events = item._world.events
    weakref.finalize(item, events.append, name).atexit = False
    if owner is not None:
        alive = weakref.ref(item)

        def check_order() -> None:
            if alive() is not None:
                events.append(f'{name} without owner')

        weakref.finalize(owner, check_order).atexit = False


class ICudaEngine(Bound):
    """A plan that was loaded."""

    def _values(self) -> dict:
        return {
            value.name: value
            for value in (*self._session.get_inputs(), *self._session.get_outputs())
        }

    @property
    def num_io_tensors(self) -> int:
        return len(self._values())

    def get_tensor_name(self, index: int) -> str:
        return list(self._values())[index]

    def get_tensor_shape(self, name: str) -> Dims:
        return _dims(self._values()[name])

    def get_tensor_dtype(self, name: str) -> object:
        return getattr(self.trt.DataType, DTYPES[self._values()[name].type])

    def get_tensor_mode(self, name: str) -> object:
        modes = self.trt.TensorIOMode
        is_input = name in [value.name for value in self._session.get_inputs()]
        return modes.INPUT if is_input else modes.OUTPUT

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list:
        assert profile_index == 0
        return [Dims(tuple(sides)) for sides in self._profile[name]]

    def create_execution_context(self) -> object:
        if not self._world.has_memory:
            _log(self, 'Error Code 2: OutOfMemory')
            return None
        context = self.trt.IExecutionContext()
        context._addresses, context._shapes = {}, {}
        context._logger, context._session = self._logger, self._session
        context._names, context._has_run, context._profiler = self._values(), False, None
        _follow(context, 'context', self)
        return context


class IExecutionContext(Bound):
    """Runs a network."""

    def _set_profiler(self, profiler: IProfiler) -> None:
        assert hasattr(profiler, '_is_initialised')
        self._profiler = profiler

    profiler = property(None, _set_profiler)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self._names or not memory or memory % 256:
            return False
        self._addresses[name] = memory
        return True

    def set_input_shape(self, name: str, shape: tuple) -> bool:
        if name not in self._names or len(shape) != len(self._names[name].shape):
            return False
        self._shapes[name] = shape
        return True

    def infer_shapes(self) -> list:
        return [
            name
            for name in [value.name for value in self._session.get_inputs()]
            if -1 in _dims(self._names[name]) and name not in self._shapes
        ]

    def execute_async_v3(self, stream_handle: int) -> bool:
        cudart = self._world.cudart
        if cudart.live.get(stream_handle) != 'stream':
            raise ProcessDied('an unknown stream')
        is_captured = cudart.is_capturing(stream_handle)
        if is_captured and not (self._has_run and self._world.captures):
            _log(self, 'operation not permitted when stream is capturing')
            return False
        if not self._world.runs or set(self._addresses) != set(self._names):
            _log(self, 'enqueueV3 failed: an address is missing')
            return False
        # Shapes and addresses are those of now, whatever is set before the stream runs.
        shapes, addresses = dict(self._shapes), dict(self._addresses)
        scale = self._world.graph_scale if is_captured else 1.0
        cudart.enqueue(stream_handle, lambda: self._execute(shapes, addresses, scale))
        self._has_run = True
        return True

    def _execute(self, shapes: dict, addresses: dict, scale: float) -> bool:
        (image,) = self._session.get_inputs()
        shape = shapes.get(image.name, image.shape)
        content = ctypes.string_at(addresses[image.name], int(np.prod(shape)))
        array = np.frombuffer(content, np.uint8).reshape(shape)
        names = [value.name for value in self._session.get_outputs()]
        for name, head in zip(names, self._session.run(names, {image.name: array})):
            scaled = np.ascontiguousarray(head * np.float32(scale))
            ctypes.memmove(addresses[name], scaled.ctypes.data, scaled.nbytes)
        if self._profiler is not None:
            for layer, ms in (('stem', 0.25), ('head', 0.75)):
                _call_back(self._profiler.report_layer_time, layer, ms)
        return True


class Enumeration(Enum):
    """An enum of pybind11: converts to an integer and is none."""

    def __int__(self) -> int:
        return self.value


CLASSES = {
    cls.__name__: cls
    for cls in (
        Builder, IBuilderConfig, ICudaEngine, IExecutionContext, ILogger, INetworkDefinition,
        IOptimizationProfile, IProfiler, IProgressMonitor, ITensor, ITimingCache, OnnxParser,
        ParserError, Runtime,
    )
}  # fmt: skip
for _cls in CLASSES.values():
    for _name, _member in list(vars(_cls).items()):
        if inspect.isfunction(_member) and not _name.startswith('_'):
            setattr(_cls, _name, typed(_member))


def make_tensorrt(version: str, cudart: object) -> ModuleType:
    """Make a module ``tensorrt`` of a version, on a fake runtime of CUDA."""
    record = read_record(version)
    trt = ModuleType('tensorrt')
    trt.__version__, trt.world = version, World(cudart)
    for name, cls in CLASSES.items():
        if name in record['classes']:
            members = {'record': record['classes'][name], 'trt': trt, '_base': cls}
            setattr(trt, name, type(name, (cls,), members))
    for name, values in record['enums'].items():
        owner, _, own_name = name.rpartition('.')
        setattr(getattr(trt, owner) if owner else trt, own_name, Enumeration(own_name, values))
    return trt
