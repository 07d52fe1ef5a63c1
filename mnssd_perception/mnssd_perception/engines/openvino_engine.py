"""
Run ONNX networks in OpenVINO on an x86 CPU.

OpenVINO decides itself in which type it computes: on a CPU with bfloat16 it runs a float32 network
in that unless told otherwise, and a quantised network whose pattern it does not recognise in
float32. So the precision is set, and read back from the operators of the compiled network.
"""

from collections import Counter
from contextlib import suppress
from functools import cache
import hashlib
from io import BytesIO
from math import prod
import os
import sys
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
from mnssd_perception.engines.onnx_check import check_onnx, MAX_BATCH, MAX_VALUES
from mnssd_perception.engines.plan_cache import Key, PlanCache
from mnssd_perception.errors import EngineError, EngineUnavailableError
from mnssd_perception.ssd import ModelSpec
from mnssd_perception.text import sanitize_text
import numpy as np
from numpy.typing import NDArray

NAME = 'openvino'

# In what the float part of a network of each precision runs. In bfloat16 the float part of an INT8
# network is no faster, and a float32 network would not equal the one that was trained.
FLOAT_TYPES = {'fp32': 'f32', 'int8': 'f32', 'bf16': 'bf16'}

# The types that OpenVINO gives convolutions at run time, as precisions.
PRECISIONS = {'f32': 'fp32', 'f16': 'fp16', 'bf16': 'bf16', 'u8': 'int8', 'i8': 'int8'}

# OpenVINO makes several operators of one: a convolution and the addition of its bias.
MAX_OUTPUT_VALUES = 2 * MAX_VALUES


class OpenVinoEngine(Engine):
    """
    Runs an ONNX network on an x86 CPU.

    Input and outputs are fixed arrays that OpenVINO works on, so that a frame allocates nothing. A
    network that takes any batch gets at most :data:`MAX_BATCH` images at once, in fresh arrays.

    OpenVINO's threads sleep between frames: ``options.spinning`` has no effect. In
    ``options.cache`` it keeps the compiled network, which loads five times as fast.

    :param spec: what the network must take and return.
    :param network: a serialised ONNX network.
    :param precision: of the network, ``fp32`` or ``int8``; ``bf16`` runs a float32 network in
        bfloat16. ``info.device`` says how many convolutions of an INT8 network run in float32.
    :raises EngineUnavailableError: if the CPU has no bfloat16 and that is requested.
    :raises EngineError: if it is not an ONNX network, refers to other files, does not fit the
        specification, or would run in another precision.
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
        if precision not in FLOAT_TYPES:
            raise EngineError(
                f"engine '{NAME}': expected precision {', '.join(FLOAT_TYPES)}, got '{precision}'"
            )
        self._has_batch = check_onnx(network).fixed is not None
        try:
            self._open(network, options, precision)
        except EngineError:
            raise
        except Exception as error:  # RuntimeError mostly, with lines about OpenVINO's sources
            raise EngineError(f'not a network that OpenVINO can load: {_reason(error)}') from error

    @staticmethod
    def available() -> str | None:
        """Say why OpenVINO cannot be used, or None if it can."""
        try:
            _import_runtime()
        except Exception as error:  # a library that does not fit raises all kinds of errors
            return f'{_reason(error)}; install it with: pip install openvino'
        if _open_core.cache_info().currsize and _open_core()[0] != os.getpid():
            return 'it runs in the process that forked this one, which has none of its threads'
        return None

    def _open(self, network: bytes, options: EngineOptions, precision: str) -> None:
        openvino, core = _import_runtime(), open_core()
        cpu = sanitize_text(core.get_property('CPU', 'FULL_DEVICE_NAME'), 80)
        capabilities = core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
        if precision == 'bf16' and 'BF16' not in capabilities:
            raise EngineUnavailableError(
                NAME,
                'this CPU has no bfloat16 (avx512_bf16 or amx_bf16), only '
                f'{", ".join(capabilities)}',
            )
        settings: Key = {
            'PERFORMANCE_HINT': 'LATENCY',
            'NUM_STREAMS': 1,
            'INFERENCE_NUM_THREADS': options.cpu_threads,
            'INFERENCE_PRECISION_HINT': FLOAT_TYPES[precision],
            # Else each engine pins its threads to the first cores, where other nodes run.
            'ENABLE_CPU_PINNING': False,
        }
        key = {
            'network': hashlib.sha256(network).hexdigest(),
            'openvino': openvino.__version__,
            'cpu': f'{cpu}: {", ".join(capabilities)}',
            **settings,
        }
        compiled = self._compile(core, network, settings, options, key)
        self._check_contract(compiled)
        device = cpu + _check_precision(compiled, precision)
        version = openvino.__version__.partition('-')[0]
        self.info = EngineInfo(NAME, version, precision, device)
        self._request: Any = compiled.create_infer_request()
        if not self._has_batch:
            self._bind(openvino)

    def _compile(
        self, core: Any, network: bytes, settings: Key, options: EngineOptions, key: Key
    ) -> Any:
        """Compile a network, or import what was compiled before."""
        folder = options.cache / NAME if options.cache is not None else None
        plans, name = PlanCache(folder, options.progress), f'{key["network"]:.16}'
        plan = plans.load(name, key)[0]
        if plan is not None:
            with suppress(RuntimeError):  # OpenVINO cannot read what it wrote: compile it again
                return core.import_model(plan, 'CPU', settings)
        compiled = core.compile_model(self._read(core, network), 'CPU', settings)
        if folder is not None:
            stream = BytesIO()
            compiled.export_model(stream)
            plans.store(name, key, stream.getvalue())
        return compiled

    def _read(self, core: Any, network: bytes) -> Any:
        """Read a network and check its shapes: OpenVINO ignores those that the file declares."""
        model = core.read_model(network, b'')
        size = [*self.spec.input_size, 3]
        if self._has_batch:
            model.reshape({INPUT: [MAX_BATCH, *size]})
        outputs = [output for node in model.get_ops() for output in node.outputs()]
        shapes = [output.get_partial_shape() for output in outputs]
        if not all(shape.is_static for shape in shapes):
            raise EngineError('expected a network whose shapes are all known, got one that is not')
        num_values = sum(prod(shape.to_shape()) for shape in shapes)
        if num_values > MAX_OUTPUT_VALUES:
            raise EngineError(
                f'expected operators that make at most {MAX_OUTPUT_VALUES} values together, '
                f'got {num_values}; make the input of the network smaller'
            )
        self._check_contract(model, *([MAX_BATCH] if self._has_batch else []))
        if self._has_batch:
            model.reshape({INPUT: [(1, MAX_BATCH), *size]})
        return model

    def _check_contract(self, model: Any, *batch: int) -> None:
        """Refuse a network with other inputs and outputs than those of the specification."""
        batch_text = batch or (f'1..{MAX_BATCH}',) * self._has_batch
        expected = {
            name: (f'[{",".join(map(str, shape))}]', 'u8' if name == INPUT else 'f32')
            for name, shape in tensor_shapes(self.spec, *batch_text).items()
        }
        actual = {}
        for port in (*model.inputs, *model.outputs):
            names = sorted(port.get_names())  # several where OpenVINO removed an operator
            name = next((name for name in names if name in expected), ', '.join(names))
            shape, element_type = port.get_partial_shape(), port.get_element_type()
            actual[name] = (str(shape), element_type.to_string())
        if actual != expected:
            got = sanitize_text(actual, 500)
            raise EngineError(f'expected a network with {expected}, got {got}')

    def _bind(self, openvino: Any) -> None:
        tensors = make_tensors(self.spec)
        self._image, self._logits, self._offsets = tensors.values()
        for name, tensor in tensors.items():
            self._request.set_tensor(name, openvino.Tensor(tensor, shared_memory=True))

    def _run(self, image: NDArray[np.uint8]) -> Heads:
        if self._has_batch:
            logits, offsets = self._run_chunk(image[None])
            return logits[0], offsets[0]
        np.copyto(self._image, image)
        self._request.infer(share_outputs=True)
        return self._logits, self._offsets

    def _run_batch(self, images: NDArray[np.uint8]) -> Heads:
        if not self._has_batch:
            return super()._run_batch(images)
        return run_in_chunks(self._run_chunk, images, MAX_BATCH)

    def _run_chunk(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        heads = self._request.infer({INPUT: images})
        return [heads[name] for name in OUTPUTS]

    def _close(self) -> None:
        self._request = None


def _import_runtime() -> Any:
    """
    Import OpenVINO without its telemetry.

    Importing it writes an identifier to ``~/intel`` and sends events to a server if
    openvino_telemetry can be imported, which is a requirement of its package.
    """
    sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]
    import openvino

    return openvino


def open_core() -> Any:
    """
    Open the core of OpenVINO, one for the whole process.

    The CPU plugin of a core gives the thread that opens it a stack for signal handlers. When
    several cores are not closed in reverse order, a freed stack remains in use, and the next
    signal, such as Ctrl-C, kills the process (OpenVINO 2026.4).
    """
    return _open_core()[1]


@cache
def _open_core() -> tuple[int, Any]:
    return os.getpid(), _import_runtime().Core()


def _check_precision(compiled: Any, precision: str) -> str:
    """
    Refuse a network that runs in another precision.

    :return: how many convolutions of an INT8 network run in float32; empty if none does.
    """
    counts: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if 'Convolution' in info['layerType'].astype(str):
            name = info['runtimePrecision'].astype(str)
            counts[PRECISIONS.get(name, name)] += 1
    allowed = {'int8', 'fp32'} if precision == 'int8' else {precision}
    if counts.keys() - allowed or (precision == 'int8' and 2 * counts['int8'] <= counts.total()):
        running = ', '.join(f'{count} in {name}' for name, count in sorted(counts.items()))
        raise EngineError(
            f'expected convolutions in {precision}, OpenVINO runs {running or "none"} on this '
            'CPU; use a network of another precision'
        )
    others = counts.total() - counts[precision]
    return f', {others} of {counts.total()} convolutions in fp32' if others else ''


def _reason(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if not line.startswith('Exception from')]
    return sanitize_text(' '.join(lines), 500)
