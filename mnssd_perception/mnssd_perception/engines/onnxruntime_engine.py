"""
Run ONNX networks in ONNX Runtime: on the CPU, which works on any machine, or in a provider.

ONNX Runtime falls back to the CPU by itself, on loading and on running, with a line in its log. It
must not here: who asks for a GPU and gets the CPU loses frames without knowing why.
"""

from collections.abc import Callable, Mapping
import os
import platform
from typing import Any

from mnssd_perception.engines.engine import (
    Engine,
    EngineInfo,
    EngineOptions,
    Heads,
    INPUT,
    make_tensors,
    OUTPUTS,
    run_in_chunks,
    tensor_shapes,
)
from mnssd_perception.engines.onnx_check import check_onnx, MAX_BATCH
from mnssd_perception.errors import EngineError, EngineUnavailableError
from mnssd_perception.ssd import ModelSpec
from mnssd_perception.text import sanitize_text
import numpy as np
from numpy.typing import NDArray

NAME = 'onnxruntime'

Providers = list[tuple[str, dict[str, str]]]


def _cuda(options: EngineOptions, precision: str) -> Providers:
    return [('CUDAExecutionProvider', {'use_tf32': '0'})]  # TF32 rounds float32 to 11 bits


def _tensorrt(options: EngineOptions, precision: str) -> Providers:
    settings: dict[str, object] = {
        'trt_fp16_enable': precision in ('fp16', 'int8'),
        'trt_int8_enable': precision == 'int8',
        'trt_max_workspace_size': options.workspace_mib << 20,
    }
    if options.cache is not None:
        settings |= {
            'trt_engine_cache_enable': True,
            'trt_engine_cache_path': options.cache,
            'trt_timing_cache_enable': True,
            'trt_timing_cache_path': options.cache,
        }
    if options.dla_core >= 0:
        settings |= {'trt_dla_enable': True, 'trt_dla_core': options.dla_core}
    texts = {key: str(value) for key, value in settings.items()}
    # What TensorRT cannot run may run in CUDA, but not on the CPU.
    return [('TensorrtExecutionProvider', texts), *_cuda(options, precision)]


def _openvino(options: EngineOptions, precision: str) -> Providers:
    settings = {'device_type': 'CPU', 'precision': 'FP32'}
    return [('OpenVINOExecutionProvider', settings | {'num_of_threads': f'{options.cpu_threads}'})]


# By name of the engine: the provider that must run the network first, and how to get it.
PROVIDERS: Mapping[str, tuple[Callable[[EngineOptions, str], Providers], str]] = {
    NAME: (lambda options, precision: [('CPUExecutionProvider', {})], 'onnxruntime'),
    'onnxruntime:cuda': (_cuda, 'onnxruntime-gpu'),
    'onnxruntime:tensorrt': (_tensorrt, 'onnxruntime-gpu'),
    'onnxruntime:openvino': (_openvino, 'onnxruntime-openvino'),
}


class OnnxRuntimeEngine(Engine):
    """
    Runs an ONNX network on the CPU.

    The input and both outputs are bound to fixed arrays, so that a frame allocates nothing. A
    network that takes any batch gets at most :data:`MAX_BATCH` images at once, in fresh arrays.

    :param spec: what the network must take and return.
    :param network: a serialised ONNX network.
    :param precision: of the network, for the record.
    :raises EngineError: if it is not an ONNX network, refers to other files, is newer than the
        runtime, does not fit the specification, or would run in another provider.
    """

    name = NAME

    def __init__(
        self,
        spec: ModelSpec,
        network: bytes,
        options: EngineOptions = EngineOptions(),
        precision: str = 'fp32',
    ) -> None:
        super().__init__(spec)
        if reason := self.available():
            raise EngineUnavailableError(self.name, reason)
        checked = check_onnx(network)
        onnxruntime = _import_runtime()
        providers = PROVIDERS[self.name][0](options, precision)
        is_cpu = self.name == NAME
        device = f'{platform.machine()} CPU, {os.cpu_count()} cores' if is_cpu else providers[0][0]
        self.info = EngineInfo(self.name, onnxruntime.__version__, precision, device)
        settings = _session_options(onnxruntime, options)
        if not is_cpu:  # else nodes that the provider does not take run on the CPU
            settings.add_session_config_entry('session.disable_cpu_ep_fallback', '1')
        try:
            if checked.fixed is not None:
                # Verifies the shapes, see onnx_check; on the CPU, which needs no building.
                cpu = onnxruntime.InferenceSession(
                    checked.fixed,
                    _session_options(onnxruntime, options),
                    providers=['CPUExecutionProvider'],
                )
                _check_contract(cpu, spec, MAX_BATCH)
            self._session: Any = onnxruntime.InferenceSession(
                network, settings, providers=providers, enable_fallback=0
            )
        except EngineError:
            raise
        except Exception as error:  # ONNX Runtime's errors share no public base
            if 'Unsupported model IR version' in str(error):
                raise EngineError(
                    f'the network has ONNX IR version {checked.ir} (opset {checked.opset}), '
                    f'which onnxruntime {onnxruntime.__version__} cannot read; install a newer '
                    'one (IR version 10 needs 1.18) or export the network again (mnssd exports '
                    'for 1.15 and later)'
                ) from error
            reason = sanitize_text(str(error), 500)
            use = 'can be loaded' if is_cpu else f'{providers[0][0]} can run'
            raise EngineError(f'not an ONNX network that {use}: {reason}') from error
        self._session.disable_fallback()  # of a run that fails, to the CPU
        if (used := self._session.get_providers()[0]) != providers[0][0]:
            raise EngineError(
                f"engine '{self.name}': expected {providers[0][0]} to run the network, "
                f'onnxruntime chose {used}; its log says which library is missing'
            )
        self._has_batch = checked.fixed is not None
        if not self._has_batch:
            _check_contract(self._session, spec)
            self._bind(onnxruntime)

    @classmethod
    def available(cls) -> str | None:
        """Say why ONNX Runtime or its provider cannot be used, or None if it can."""
        make_providers, package = PROVIDERS[cls.name]
        try:
            available = _import_runtime().get_available_providers()
        except ImportError as error:
            return f'{error}; install it with: pip install {package}'
        provider = make_providers(EngineOptions(), 'fp32')[0][0]
        if provider in available:
            return None
        return (
            f'expected an onnxruntime with {provider}, got one with {", ".join(available)}; '
            f'replace it: pip uninstall onnxruntime, pip install {package}'
        )

    def _bind(self, onnxruntime: Any) -> None:
        tensors = make_tensors(self.spec)
        self._image, self._logits, self._offsets = tensors.values()
        self._binding = self._session.io_binding()
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        self._binding.bind_ortvalue_input(INPUT, value(self._image))
        for name in OUTPUTS:
            self._binding.bind_ortvalue_output(name, value(tensors[name]))

    def _run(self, image: NDArray[np.uint8]) -> Heads:
        if self._has_batch:
            logits, offsets = self._session.run(OUTPUTS, {INPUT: image[None]})
            return logits[0], offsets[0]
        np.copyto(self._image, image)
        self._session.run_with_iobinding(self._binding)
        return self._logits, self._offsets

    def _run_batch(self, images: NDArray[np.uint8]) -> Heads:
        if not self._has_batch:
            return super()._run_batch(images)
        return run_in_chunks(
            lambda chunk: self._session.run(OUTPUTS, {INPUT: chunk}), images, MAX_BATCH
        )

    def _close(self) -> None:
        self._binding = None
        self._session = None


class CudaOnnxRuntimeEngine(OnnxRuntimeEngine):
    """Runs an ONNX network on an NVIDIA GPU by the CUDA provider."""

    name = 'onnxruntime:cuda'


class TensorRtOnnxRuntimeEngine(OnnxRuntimeEngine):
    """
    Runs an ONNX network on an NVIDIA GPU by the TensorRT provider.

    It keeps engines in ``options.cache`` as well, but does not check them for damage.
    """

    name = 'onnxruntime:tensorrt'


class OpenVinoOnnxRuntimeEngine(OnnxRuntimeEngine):
    """Runs an ONNX network on an x86 CPU by the OpenVINO provider."""

    name = 'onnxruntime:openvino'


def _import_runtime() -> Any:
    """
    Import ONNX Runtime without its telemetry.

    From 1.29 on, importing it on Linux writes an identifier of the device to the user's cache and
    sends events to a server, unless this is set before. A user who wants that sets it to 0.
    """
    os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')
    import onnxruntime

    return onnxruntime


def _session_options(onnxruntime: Any, options: EngineOptions) -> Any:
    session = onnxruntime.SessionOptions()
    session.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # The network has no wide branches that could run side by side.
    session.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    session.intra_op_num_threads = options.cpu_threads
    session.inter_op_num_threads = 1
    spinning = '1' if options.spinning else '0'
    session.add_session_config_entry('session.intra_op.allow_spinning', spinning)
    # Else content that looks like ONNX Runtime's own format, which nobody has checked, is read so.
    session.add_session_config_entry('session.load_model_format', 'ONNX')
    # Else a shape that the file declares and that is not the true one is only a warning, and
    # onnx_check knows nothing of what a node allocates.
    session.add_session_config_entry('session.strict_shape_type_inference', '1')
    session.log_severity_level = 3
    return session


def _check_contract(session: Any, spec: ModelSpec, *batch: int) -> None:
    """Refuse a network with other inputs and outputs than those of the specification."""
    expected = {
        name: (list(shape), 'tensor(uint8)' if name == INPUT else 'tensor(float)')
        for name, shape in tensor_shapes(spec, *batch).items()
    }
    items = (*session.get_inputs(), *session.get_outputs())
    actual = {item.name: (item.shape, item.type) for item in items}
    if actual != expected:
        got = sanitize_text(actual, 500)
        raise EngineError(f'expected a network with {expected}, got {got}')
