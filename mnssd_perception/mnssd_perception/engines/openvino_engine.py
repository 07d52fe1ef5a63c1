"""
Run ONNX networks in OpenVINO on an x86 CPU.

OpenVINO decides itself in which type it computes: on a CPU with bfloat16 it runs a float32 network
in that unless told otherwise, and a quantised network whose pattern it does not recognise in
float32. So the precision is set, and read back from the operators of the compiled network.
"""

from collections.abc import Mapping
from contextlib import suppress
import hashlib
from math import prod
from pathlib import Path
import sys
from typing import Any

from mnssd_perception.engines.engine import (
    Engine,
    EngineInfo,
    EngineOptions,
    Heads,
    run_in_chunks,
)
from mnssd_perception.engines.onnx_check import check_onnx, MAX_BATCH, MAX_VALUES
from mnssd_perception.errors import EngineError, EngineUnavailableError
from mnssd_perception.files import write_atomically
from mnssd_perception.ssd import ModelSpec
from mnssd_perception.text import sanitize_text
import numpy as np
from numpy.typing import NDArray

NAME = 'openvino'
INPUT, OUTPUTS = 'image', ('logits', 'offsets')

# In what the float part of a network of each precision runs. In bfloat16 the float part of an INT8
# network is no faster, and a float32 network would not equal the one that was trained.
FLOAT_TYPES = {'fp32': 'f32', 'int8': 'f32', 'bf16': 'bf16'}

# The types that OpenVINO gives convolutions at run time, as precisions.
PRECISIONS = {'f32': 'fp32', 'f16': 'fp16', 'bf16': 'bf16', 'u8': 'int8', 'i8': 'int8'}

# OpenVINO makes several operators of one: a convolution and the addition of its bias.
MAX_OUTPUT_VALUES = 2 * MAX_VALUES

DIGEST_BYTES = hashlib.sha256().digest_size


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
        bfloat16. ``info`` says what runs: ``int8+fp32`` if some layers are not quantised.
    :raises EngineUnavailableError: if the CPU has no bfloat16 and that is asked for.
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
        openvino = _import_runtime()
        core = openvino.Core()
        capabilities = core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
        if precision == 'bf16' and 'BF16' not in capabilities:
            raise EngineUnavailableError(
                NAME,
                f'this CPU has no bfloat16 (avx512_bf16 or amx_bf16), only '
                f'{", ".join(capabilities)}',
            )
        cpu = sanitize_text(core.get_property('CPU', 'FULL_DEVICE_NAME'), 80)
        settings = {
            'PERFORMANCE_HINT': 'LATENCY',
            'NUM_STREAMS': 1,
            'INFERENCE_NUM_THREADS': options.cpu_threads,
            'INFERENCE_PRECISION_HINT': FLOAT_TYPES[precision],
            # Else each engine pins its threads to the first cores, where other nodes run.
            'ENABLE_CPU_PINNING': False,
        }
        try:
            key = repr((openvino.__version__, cpu, capabilities, settings))
            cache = options.cache and options.cache / f'openvino-{_digest(network, key)}.blob'
            compiled = _load(core, cache, settings) if cache else None
            if compiled is None:
                compiled = core.compile_model(self._read(core, network), 'CPU', settings)
                if cache:
                    _save(compiled, cache)
            self._check_contract(compiled)
            running = _running_precision(compiled, precision)
            self.info = EngineInfo(NAME, openvino.__version__.partition('-')[0], running, cpu)
            self._request: Any = compiled.create_infer_request()
            if not self._has_batch:
                self._bind(openvino)
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
        return None

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
        spec = self.spec
        expected = {
            INPUT: (_shape(*batch_text, *spec.input_size, 3), 'u8'),
            OUTPUTS[0]: (_shape(*batch_text, spec.num_priors, spec.num_classes + 1), 'f32'),
            OUTPUTS[1]: (_shape(*batch_text, spec.num_priors, 4), 'f32'),
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
        spec = self.spec
        self._image = np.zeros((*spec.input_size, 3), np.uint8)
        self._logits = np.zeros((spec.num_priors, spec.num_classes + 1), np.float32)
        self._offsets = np.zeros((spec.num_priors, 4), np.float32)
        arrays = (self._image, self._logits, self._offsets)
        for name, array in zip((INPUT, *OUTPUTS), arrays):
            self._request.set_tensor(name, openvino.Tensor(array, shared_memory=True))

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


def _running_precision(compiled: Any, precision: str) -> str:
    """Tell in which types the convolutions run, and refuse those that nobody asked for."""
    types = []
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if 'Convolution' in info['layerType'].astype(str):
            types.append(info['runtimePrecision'].astype(str))
    running = {PRECISIONS.get(name, name) for name in types}
    running = running or {PRECISIONS[FLOAT_TYPES[precision]]}  # without convolutions
    allowed = {'int8', 'fp32'} if precision == 'int8' else {precision}
    if precision not in running or not running <= allowed:
        raise EngineError(
            f'expected convolutions in {precision}, OpenVINO runs them in '
            f'{", ".join(sorted(running))} on this CPU; use a network of that precision'
        )
    return '+'.join(sorted(running, reverse=True))


def _load(core: Any, path: Path, settings: Mapping[str, object]) -> Any:
    """Read a compiled network, or None if there is none or it is damaged."""
    with suppress(OSError, RuntimeError):
        content = path.read_bytes()
        digest, blob = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(blob).digest() == digest:
            return core.import_model(blob, 'CPU', settings)
    return None


def _save(compiled: Any, path: Path) -> None:
    """Keep a compiled network; a full disk or a read-only folder only costs time later."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        blob = compiled.export_model().getvalue()
        write_atomically(path, hashlib.sha256(blob).digest() + blob)


def _digest(network: bytes, key: str) -> str:
    return hashlib.sha256(key.encode() + b'\0' + network).hexdigest()[:32]


def _shape(*sides: object) -> str:
    return f'[{",".join(map(str, sides))}]'


def _reason(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if not line.startswith('Exception from')]
    return sanitize_text(' '.join(lines), 500)
