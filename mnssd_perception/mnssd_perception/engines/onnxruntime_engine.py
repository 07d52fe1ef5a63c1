"""Run ONNX networks in ONNX Runtime on the CPU, which works on any machine."""

import os
import platform
from typing import Any

from mnssd_perception.engines.engine import Engine, EngineInfo, EngineOptions
from mnssd_perception.engines.onnx_check import check_onnx
from mnssd_perception.errors import EngineError, EngineUnavailableError
from mnssd_perception.ssd import ModelSpec
from mnssd_perception.text import sanitize_text
import numpy as np
from numpy.typing import NDArray

NAME = 'onnxruntime'
INPUT, OUTPUTS = 'image', ('logits', 'offsets')

MAX_THREADS = 4  # more do not pay for a network of this size, and a drone has other work


class OnnxRuntimeEngine(Engine):
    """
    Runs an ONNX network on the CPU.

    The input and both outputs are bound to fixed arrays, so that a frame allocates nothing.

    :param spec: what the network must take and return.
    :param network: a serialised ONNX network.
    :param precision: of the network, for the record.
    :raises EngineError: if it is not an ONNX network, refers to other files, is newer than the
        runtime, or does not fit the specification.
    """

    def __init__(
        self,
        spec: ModelSpec,
        network: bytes,
        options: EngineOptions = EngineOptions(),
        precision: str = 'fp32',
    ) -> None:
        super().__init__(spec)
        if reason := self.available():
            raise EngineUnavailableError(NAME, reason)
        versions = check_onnx(network)
        onnxruntime = _import_runtime()
        device = f'{platform.machine()} CPU, {os.cpu_count()} cores'
        self.info = EngineInfo(NAME, onnxruntime.__version__, precision, device)
        try:
            self._session: Any = onnxruntime.InferenceSession(
                network, _session_options(onnxruntime, options), providers=['CPUExecutionProvider']
            )
        except Exception as error:  # ONNX Runtime's errors share no public base
            if 'Unsupported model IR version' in str(error):
                raise EngineError(
                    f'the network has ONNX IR version {versions.ir} (opset {versions.opset}), '
                    f'which onnxruntime {onnxruntime.__version__} cannot read; install a newer '
                    'one (IR version 10 needs 1.18) or export the network again (mnssd exports '
                    'for 1.15 and later)'
                ) from error
            reason = sanitize_text(str(error), 500)
            raise EngineError(f'not an ONNX network that can be loaded: {reason}') from error
        _check_contract(self._session, spec)
        self._image = np.zeros((*spec.input_size, 3), np.uint8)
        self._logits = np.zeros((spec.num_priors, spec.num_classes + 1), np.float32)
        self._offsets = np.zeros((spec.num_priors, 4), np.float32)
        self._binding = self._session.io_binding()
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        self._binding.bind_ortvalue_input(INPUT, value(self._image))
        for name, array in zip(OUTPUTS, (self._logits, self._offsets)):
            self._binding.bind_ortvalue_output(name, value(array))

    @staticmethod
    def available() -> str | None:
        """Say why ONNX Runtime cannot be used, or None if it can."""
        try:
            _import_runtime()
        except ImportError as error:
            return f'{error}; install it with: pip install onnxruntime'
        return None

    def _run(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        np.copyto(self._image, image)
        self._session.run_with_iobinding(self._binding)
        return self._logits, self._offsets

    def _close(self) -> None:
        self._binding = None
        self._session = None


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
    session.intra_op_num_threads = options.threads or min(MAX_THREADS, os.cpu_count() or 1)
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


def _check_contract(session: Any, spec: ModelSpec) -> None:
    """Refuse a network with other inputs and outputs than those of the specification."""
    expected = {
        INPUT: ([*spec.input_size, 3], 'tensor(uint8)'),
        OUTPUTS[0]: ([spec.num_priors, spec.num_classes + 1], 'tensor(float)'),
        OUTPUTS[1]: ([spec.num_priors, 4], 'tensor(float)'),
    }
    items = (*session.get_inputs(), *session.get_outputs())
    actual = {item.name: (item.shape, item.type) for item in items}
    if actual != expected:
        got = sanitize_text(actual, 500)
        raise EngineError(f'expected a network with {expected}, got {got}')
