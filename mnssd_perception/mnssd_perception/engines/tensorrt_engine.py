"""Run ONNX networks in TensorRT on an NVIDIA GPU, with TensorRT 8.5 to 11."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
import hashlib
from pathlib import Path
import time
from typing import Any

from mnssd_perception.engines.cuda import CudaError, open_cuda
from mnssd_perception.engines.engine import (
    Engine,
    EngineInfo,
    EngineOptions,
    Heads,
    INPUT,
    OUTPUTS,
    run_in_chunks,
    tensor_shapes,
)
from mnssd_perception.engines.plan_cache import Key, PlanCache
from mnssd_perception.engines.tensorrt_builder import (
    build_plan,
    BUILDER_REVISION,
    create,
    get_logger,
)
from mnssd_perception.errors import EngineError, EngineUnavailableError
from mnssd_perception.ssd import ModelSpec
from mnssd_perception.text import sanitize_text
import numpy as np
from numpy.typing import NDArray

NAME = 'tensorrt'

# Between the heads of a CUDA graph and those of the calls that it was captured from.
GRAPH_TOLERANCE = 1e-2


@dataclass(frozen=True)
class LayerTime:
    """Mean time of a layer of the plan; TensorRT fuses operators of the network into layers."""

    name: str
    milliseconds: float


class TensorRtEngine(Engine):
    """
    Runs an ONNX network on an NVIDIA GPU.

    The first use on a machine builds a plan, which takes minutes; later ones take it from the
    cache. A frame is one launch of a CUDA graph that copies the image, runs the network and copies
    the heads; where no graph can be captured, the same is enqueued call by call.

    :param spec: what the network must take and return.
    :param network: a serialised ONNX network; also one with a free batch size.
    :param precision: ``int8`` for a network with quantisation, ``fp16`` or ``fp32``.
    :param rebuild: build a new plan in any case.
    :raises EngineError: if TensorRT cannot build or load a plan, or the network does not fit the
        specification.
    :ivar plan_path: of the plan; None where there is no cache folder.
    """

    def __init__(
        self,
        spec: ModelSpec,
        network: bytes,
        options: EngineOptions = EngineOptions(),
        precision: str = 'fp16',
        *,
        rebuild: bool = False,
    ) -> None:
        super().__init__(spec)
        try:
            self._cuda = open_cuda()
            self._trt = _import_tensorrt()
        except (CudaError, ImportError) as error:
            raise EngineUnavailableError(NAME, str(error)) from error
        self._options = options
        if not options.spinning:
            self._cuda.wait_without_spinning()
        gpu = str(self._cuda.describe_gpu())
        dla = f', DLA core {options.dla_core}' if options.dla_core >= 0 else ''
        self.info = EngineInfo(NAME, self._trt.__version__, precision, f'{gpu}{dla}')
        self._logger = get_logger(self._trt)
        # What _close() releases; 0 and None for what does not exist.
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._stream = self._graph = 0
        self._host: dict[str, NDArray[Any]] = {}
        self._device: dict[str, int] = {}
        try:
            # First: on a device that an error has broken, this fails before a build is tried.
            self._stream = self._cuda.create_stream()
            self.plan_path = self._load(network, gpu, rebuild=rebuild)
            self._max_batch = self._check_contract()  # 0 for a network of one image
            self._allocate()
            self._warm_up()
        except BaseException:
            self.close()
            raise

    @staticmethod
    def available() -> str | None:
        """
        Say why TensorRT cannot be used, or None if it can.

        It asks CUDA for a GPU first, because TensorRT ends the process where there is no driver.
        """
        try:
            open_cuda()
            _import_tensorrt()
        except Exception as error:  # whatever an installation may lack
            return str(error)
        return None

    @property
    def uses_graph(self) -> bool:
        """Whether a frame is one launch of a CUDA graph."""
        return self._graph != 0

    def profile(self, num_runs: int = 50) -> tuple[LayerTime, ...]:
        """
        Measure each layer on the image of the last inference, the slowest first.

        :raises EngineError: if the runtime fails or the engine is closed.
        """
        if self._closed:
            raise EngineError(f"engine '{NAME}' is closed")
        profiler = _make_profiler(self._trt)
        context = self._create_context(profiler)
        for run in range(num_runs + 1):
            self._enqueue(context)
            self._cuda.synchronize(self._stream)
            if not run:  # a warm-up
                profiler.total.clear()
        del context  # before the profiler that it calls
        layers = (LayerTime(name, ms / num_runs) for name, ms in profiler.total.items())
        return tuple(sorted(layers, key=lambda layer: -layer.milliseconds))

    def _run(self, image: NDArray[np.uint8]) -> Heads:
        if self._max_batch:
            logits, offsets = self._run_batch(image[None])
            return logits[0], offsets[0]
        np.copyto(self._host[INPUT], image)
        if self._graph:
            self._cuda.launch(self._graph, self._stream)
        else:
            self._enqueue(self._context)
        self._cuda.synchronize(self._stream)
        return self._host[OUTPUTS[0]], self._host[OUTPUTS[1]]

    def _run_batch(self, images: NDArray[np.uint8]) -> Heads:
        if not self._max_batch:
            return super()._run_batch(images)
        return run_in_chunks(self._run_chunk, images, self._max_batch)

    def _run_chunk(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        np.copyto(self._host[INPUT][: len(images)], images)
        self._enqueue(self._context, len(images))
        self._cuda.synchronize(self._stream)
        return [self._host[name][: len(images)].copy() for name in OUTPUTS]

    def _close(self) -> None:
        # A broken device fails in each of these calls, and the next engine waits for them.
        if self._stream:
            _quietly(self._cuda.synchronize, self._stream)
        if self._graph:
            _quietly(self._cuda.destroy_graph, self._graph)
        self._context = None
        self._engine = None
        self._runtime = None
        for pointer in self._device.values():
            _quietly(self._cuda.free, pointer)
        if self._stream:
            _quietly(self._cuda.destroy_stream, self._stream)
        self._host, self._device, self._stream, self._graph = {}, {}, 0, 0

    def _load(self, network: bytes, gpu: str, *, rebuild: bool) -> Path | None:
        """Load the plan from the cache, or build it; return its path."""
        options, precision = self._options, self.info.precision
        folder = options.cache / NAME if options.cache is not None else None
        cache = PlanCache(folder, options.progress)
        digest = hashlib.sha256(network).hexdigest()
        machine: Key = {'tensorrt': self.info.version, 'gpu': gpu}
        key = {
            **machine,
            'network': digest,
            'precision': precision,
            'dla_core': options.dla_core,
            'workspace_mib': options.workspace_mib,
            'revision': BUILDER_REVISION,
        }
        prefix = digest[:16]
        plan, reason = (None, '') if rebuild else cache.load(prefix, key)
        if plan is not None:
            if self._deserialize(plan):
                return cache.path(prefix, key)
            reason = f'the plan cannot be loaded: {self._logger.describe_errors()}'
        if reason:
            options.progress(f'tensorrt: builds again, {reason}')
        with cache.lock():
            # Another process may have built it in the meantime.
            other = None if rebuild else cache.load(prefix, key)[0]
            if other is None or other == plan:
                options.progress(
                    f'tensorrt: builds an engine for {self.info.device} in {precision}, which '
                    'takes minutes'
                )
                started = time.monotonic()
                timings = cache.load('timings', machine)[0] or b''
                built = build_plan(self._trt, network, options, precision, timings)
                options.progress(f'tensorrt: built in {time.monotonic() - started:.0f} s')
                if built.timing_cache and built.timing_cache != timings:
                    cache.store('timings', machine, built.timing_cache)
                cache.store(prefix, key, built.plan)
                other = built.plan
        if not self._deserialize(other):
            raise EngineError(
                f'tensorrt {self.info.version} cannot load the plan that it has just built: '
                f'{self._logger.describe_errors()}'
            )
        return cache.path(prefix, key)

    def _deserialize(self, plan: bytes) -> bool:
        self._logger.begin(None)
        if self._runtime is None:
            self._runtime = create(self._trt.Runtime, self._logger)
            if self._options.dla_core >= 0:
                self._runtime.DLA_core = self._options.dla_core
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        self.build = hashlib.sha256(plan).hexdigest()  # another build may choose other kernels
        return self._engine is not None

    def _check_contract(self) -> int:
        """Refuse a plan that does not fit the specification; return its largest batch, or 0."""
        trt, engine = self._trt, self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        actual = {
            name: (
                tuple(engine.get_tensor_shape(name)),
                engine.get_tensor_dtype(name),
                engine.get_tensor_mode(name),
            )
            for name in names
        }
        has_batch = INPUT in actual and len(actual[INPUT][0]) == 4
        # Of enums, not of NumPy: nptype() of TensorRT 8 fails with NumPy 1.24 and later.
        expected = {
            name: (
                shape,
                trt.DataType.UINT8 if name == INPUT else trt.DataType.FLOAT,
                trt.TensorIOMode.INPUT if name == INPUT else trt.TensorIOMode.OUTPUT,
            )
            for name, shape in tensor_shapes(self.spec, *([-1] if has_batch else [])).items()
        }
        if actual != expected:
            got = sanitize_text(actual, 500)
            raise EngineError(f'expected a network with {expected}, got {got}')
        return engine.get_tensor_profile_shape(INPUT, 0)[2][0] if has_batch else 0

    def _allocate(self) -> None:
        batch = (self._max_batch,) if self._max_batch else ()
        for name, shape in tensor_shapes(self.spec, *batch).items():
            dtype = np.uint8 if name == INPUT else np.float32
            host = self._cuda.pinned_array(shape, dtype)
            host.fill(127 if name == INPUT else np.nan)  # grey; no numbers before a run
            self._host[name] = host
            self._device[name] = self._cuda.malloc(host.nbytes)
        self._context = self._create_context()

    def _create_context(self, profiler: Any = None) -> Any:
        context = self._engine.create_execution_context()
        if context is None:
            raise EngineError(
                f'tensorrt cannot run the plan: {self._logger.describe_errors()}; is there '
                'memory left?'
            )
        if profiler is not None:
            context.profiler = profiler
        for name, pointer in self._device.items():
            if not context.set_tensor_address(name, pointer):
                raise EngineError(f"tensorrt does not take the memory of '{name}'")
        return context

    def _enqueue(self, context: Any, batch: int = 1) -> None:
        """Enqueue the copy of the input, the network and the copies of the outputs."""
        host = self._host
        if self._max_batch:
            shape = tensor_shapes(self.spec, batch)[INPUT]
            if not context.set_input_shape(INPUT, shape) or context.infer_shapes():
                raise EngineError(f'tensorrt does not take an input of {shape}')
            host = {name: array[:batch] for name, array in host.items()}
        self._cuda.upload(host[INPUT], self._device[INPUT], self._stream)
        if not context.execute_async_v3(self._stream):
            raise EngineError(f'tensorrt does not run: {self._logger.describe_errors()}')
        for name in OUTPUTS:
            self._cuda.download(self._device[name], host[name], self._stream)

    def _warm_up(self) -> None:
        """Run once, which sets up what a capture must not contain, then capture a graph."""
        self._enqueue(self._context)
        self._cuda.synchronize(self._stream)
        # Another batch size needs another graph, and DLA may not run in one.
        if self._max_batch or self._options.dla_core >= 0:
            return
        try:
            self._graph = self._cuda.capture(self._stream, lambda: self._enqueue(self._context))
            self._check_graph()
        except EngineError as error:
            self._cuda.clear_error()
            if self._graph:
                graph, self._graph = self._graph, 0
                _quietly(self._cuda.destroy_graph, graph)
            self._options.progress(f'tensorrt: runs without a CUDA graph: {error}')
            self._logger.begin(None)
            self._enqueue(self._context)
            self._cuda.synchronize(self._stream)

    def _check_graph(self) -> None:
        """Refuse a graph with other heads than those of the run before it."""
        expected = [self._host[name].copy() for name in OUTPUTS]
        for name in OUTPUTS:
            self._host[name].fill(np.nan)
        self._cuda.launch(self._graph, self._stream)
        self._cuda.synchronize(self._stream)
        for name, heads in zip(OUTPUTS, expected):
            if not np.allclose(
                self._host[name], heads, GRAPH_TOLERANCE, GRAPH_TOLERANCE, equal_nan=True
            ):
                raise EngineError(f'its {name} differ from those of a plain run')


def _import_tensorrt() -> Any:
    """
    Import TensorRT.

    :raises ImportError: if it is missing or broken, with the way out.
    """
    try:
        import tensorrt
    except ImportError as error:
        raise ImportError(
            f'{error}; install TensorRT (JetPack: sudo apt install python3-libnvinfer), and in a '
            'virtual environment use --system-site-packages'
        ) from error
    return tensorrt


def _make_profiler(trt: Any) -> Any:
    """Make a profiler that adds up the milliseconds of each layer in ``total``."""

    class Profiler(trt.IProfiler):
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.total: dict[str, float] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.total[layer_name] = self.total.get(layer_name, 0.0) + ms

    return Profiler()


def _quietly(release: Callable[[int], None], resource: int) -> None:
    with suppress(CudaError):
        release(resource)
