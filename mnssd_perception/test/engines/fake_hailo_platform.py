"""
A stand-in for HailoRT's Python package and a device, for machines without one.

The surface is that of hailo-ai/hailort, which ``hailo_api/VERSION.json`` records; so are the
traps, each with a comment. A HEF of this fake is a header in JSON and a network: ONNX, or one
matrix for each output, by which the pixels at the grid points are multiplied.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
import enum
from functools import lru_cache
from io import BytesIO
import json
import os
from pathlib import Path
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
import pytest

API = Path(__file__).parent / 'hailo_api'
VERSIONS = tuple(sorted(path.stem for path in API.glob('*.json')))
MAGIC = b'\x01HEF'
STATUS = {4: 'HAILO_TIMEOUT', 63: 'HAILO_STREAM_ABORT'}
QUEUE_SIZE = 4


def recorded(version: str) -> dict[str, Any]:
    """Read the surface of a version."""
    return json.loads((API / f'{version}.json').read_text())


def write_hef(header: dict[str, Any], network: bytes) -> bytes:
    """Make a HEF of this fake; the header is what :func:`make_header` returns."""
    return MAGIC + json.dumps(header).encode() + b'\0' + network


def make_header(
    input_shape: tuple[int, int, int],
    outputs: list[dict[str, Any]],
    *,
    arch: str = 'HAILO8L',
    mean: tuple[float, ...] = (0, 0, 0),
    std: tuple[float, ...] = (1, 1, 1),
    input_quantisation: tuple[float, float] = (0, 1),
) -> dict[str, Any]:
    """
    Describe a network.

    :param outputs: ``name``, ``shape``, ``original_names``, ``quantisation`` (pairs of zero point
        and scale), and where they differ ``type`` and ``order``.
    """
    return {
        'arch': arch,
        'input': {
            'name': 'mnssd/input_layer1',
            'shape': input_shape,
            'quantisation': [input_quantisation],
            'type': 'UINT8',
            'order': 'NHWC',
            'original_names': ['images'],
        },
        'outputs': [{'type': 'UINT8', 'order': 'NHWC', **output} for output in outputs],
        'mean': mean,
        'std': std,
    }


def run_network(
    header: dict[str, Any], network: bytes, image: NDArray[np.uint8]
) -> dict[str, NDArray[np.float32]]:
    """Compute the outputs, not quantised, by their names in the HEF."""
    ((zero_point, scale),) = header['input']['quantisation']
    pixels = (image.astype(np.float32) - zero_point) * scale
    pixels = (pixels - np.float32(header['mean'])) / np.float32(header['std'])
    if not network.startswith(b'PK'):
        session = _open_session(network)
        outputs = [output['original_names'][0] for output in header['outputs']]
        maps = session.run(outputs, {'images': pixels.transpose(2, 0, 1)[None]})
        names = [output['name'] for output in header['outputs']]
        return {name: values[0].transpose(1, 2, 0) for name, values in zip(names, maps)}
    matrices = np.load(BytesIO(network))
    result = {}
    for output in header['outputs']:
        rows, columns, _ = (1, 1, *output['shape'])[-3:]
        sampled = pixels[np.arange(rows) * pixels.shape[0] // rows]
        sampled = sampled[:, np.arange(columns) * pixels.shape[1] // columns]
        result[output['name']] = sampled @ matrices[output['name']]
    return result


@lru_cache(maxsize=4)
def _open_session(network: bytes) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(network, providers=['CPUExecutionProvider'])


def quantise(values: NDArray[np.float32], output: dict[str, Any]) -> NDArray[np.integer]:
    """Quantise as the chip does: round, and clip to the range of the type."""
    zero_points, scales = np.float32(output['quantisation']).T
    dtype = np.dtype(output['type'].lower())
    return np.clip(np.round(values / scales + zero_points), 0, np.iinfo(dtype).max).astype(dtype)


class FakeDevice:
    """The device behind the API, and what tests change and look at."""

    def __init__(self) -> None:
        self.ids = ['0000:01:00.0']
        self.architecture: int = 2  # HAILO8L
        self.has_service = False
        self.scan_error: Exception | None = None
        self.running = threading.Event()  # jobs end while it is set
        self.running.set()
        self.failures: deque[int] = deque()  # statuses of the next jobs
        self.max_in_flight = 0
        self.in_flight = 0
        self.jobs: list[Any] = []
        self.vdevices: list[Any] = []
        self.events: list[str] = []  # in the order in which resources come and go


@contextmanager
def installed(version: str) -> Iterator[FakeDevice]:
    """Make ``import hailo_platform`` find the fake."""
    device = FakeDevice()
    package = build(version, device)
    modules = {
        'hailo_platform': package,
        'hailo_platform.pyhailort': package.pyhailort,
        'hailo_platform.pyhailort.pyhailort': package.pyhailort.pyhailort,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv('HAILORT_LOGGER_PATH', raising=False)
        # This device is the CPU, which may have other work.
        patch.setattr('mnssd_perception.engines.hailo_engine.TIMEOUT_MS', 20_000)
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        yield device
        device.running.set()
        for job in device.jobs:
            job._thread.join(5)


def build(version: str, device: FakeDevice) -> Any:
    """Build the package ``hailo_platform`` of a version."""
    api = recorded(version)
    module = ModuleType('hailo_platform.pyhailort.pyhailort')

    class HailoRTException(Exception):  # noqa: N818 - its name
        pass

    module.HailoRTException = HailoRTException
    for name in api['exceptions']:
        setattr(module, name, type(name, (HailoRTException,), {}))
    for name, members in api['enums'].items():
        base = enum.IntEnum if name == 'DeviceArchitectureTypes' else enum.Enum
        setattr(module, name, base(name, members, start=0))
    module.DeviceArchitectureTypes.__str__ = lambda self: self.name

    def make_status(code: int, name: str) -> HailoRTException:
        by_status = {
            'HAILO_TIMEOUT': 'HailoRTTimeout',
            'HAILO_STREAM_ABORT': 'HailoRTStreamAborted',
            'HAILO_INVALID_OPERATION': 'HailoRTInvalidOperationException',
            'HAILO_NOT_FOUND': 'HailoRTNotFoundException',
            'HAILO_NETWORK_GROUP_NOT_ACTIVATED': 'HailoRTNetworkGroupNotActivatedException',
        }
        if name in by_status:
            return getattr(module, by_status[name])(name)
        return HailoRTException(f'libhailort failed with error: {code} ({name})')

    def read(hef: object) -> tuple[dict[str, Any], bytes]:
        if isinstance(hef, str):
            if not os.path.isfile(hef):  # noqa: PTH113
                raise make_status(13, 'HAILO_OPEN_FILE_FAILURE')
            hef = Path(hef).read_bytes()
        assert isinstance(hef, bytes)
        if len(hef) < 32:
            raise make_status(91, 'HAILO_HEF_FILE_CORRUPTED')
        if not hef.startswith(MAGIC):
            raise make_status(92, 'HAILO_HEF_NOT_SUPPORTED')
        header, separator, network = hef[len(MAGIC) :].partition(b'\0')
        if not separator:
            raise make_status(91, 'HAILO_HEF_FILE_CORRUPTED')
        return json.loads(header), network

    class HEF:
        def __init__(self, hef_source: object) -> None:
            if not isinstance(hef_source, str | bytes):
                raise ValueError(
                    'HEF can only be created from a file path (str) or a buffer (bytes)'
                )
            self._header = read(hef_source)[0]

        def get_original_names_from_vstream_name(
            self, vstream_name: str, network_group_name: str | None = None
        ) -> list[str]:
            for stream in (self._header['input'], *self._header['outputs']):
                if stream['name'] == vstream_name:
                    return list(stream['original_names'])
            raise make_status(61, 'HAILO_NOT_FOUND')

    class Control:
        def identify(self) -> Any:
            # A chip that is newer than the package is a ValueError of the enumeration.
            return SimpleNamespace(
                device_architecture=module.DeviceArchitectureTypes(device.architecture)
            )

    class Device:
        @classmethod
        def scan(cls) -> list[str]:
            if device.scan_error is not None:
                raise device.scan_error
            return list(device.ids)  # [] without devices, no exception

        def __init__(self, device_id: str | None = None) -> None:
            if device_id not in device.ids:
                raise HailoRTException('HailoRT device not found in the system')
            device.events.append('device opened')

        def __enter__(self) -> 'Device':
            return self

        def __exit__(self, *args: object) -> bool:
            device.events.append('device released')
            return False

        @property
        def control(self) -> Control:
            return Control()

    class VDeviceParams:
        __slots__ = (
            'device_count',
            'device_ids',
            'group_id',
            'multi_process_service',
            'scheduling_algorithm',
        )  # fmt: skip

        def __init__(self) -> None:
            scheduler = api['default_scheduler']  # differs between 4.x and 5.x
            self.scheduling_algorithm = module.HailoSchedulingAlgorithm[scheduler]
            self.group_id, self.multi_process_service = 'UNIQUE', False
            self.device_ids, self.device_count = [], 1

    class VDevice:
        def __init__(self, params: Any = None, *, device_ids: Any = None) -> None:
            self._params = params or self.create_params()
            self._creation_pid = os.getpid()
            self._is_released = True
            for other in device.vdevices:
                group = self._params.group_id
                if group == 'UNIQUE' or group != other._params.group_id:
                    raise make_status(74, 'HAILO_OUT_OF_PHYSICAL_DEVICES')
                if (
                    other._params.scheduling_algorithm != self._params.scheduling_algorithm
                    or other._params.multi_process_service != self._params.multi_process_service
                ):
                    raise make_status(6, 'HAILO_INVALID_OPERATION')
            if not device.ids:
                raise make_status(74, 'HAILO_OUT_OF_PHYSICAL_DEVICES')
            if self._params.multi_process_service and not device.has_service:
                raise make_status(77, 'HAILO_RPC_FAILED')
            self._is_released = False
            device.vdevices.append(self)
            device.events.append('vdevice created')

        @staticmethod
        def create_params() -> VDeviceParams:
            return VDeviceParams()

        def create_infer_model(self, hef_source: object, name: str = '') -> 'InferModel':
            if os.getpid() != self._creation_pid:
                raise HailoRTException(
                    'InferModel can be created only from the process VDevice was created in.'
                )
            # type(), not isinstance(): all but bytes itself is taken for a path, by pybind11.
            if type(hef_source) is not bytes and not isinstance(hef_source, str):
                raise TypeError('create_infer_model_from_file(): incompatible function arguments')
            return InferModel(self, hef_source)

        def release(self) -> None:
            if not self._is_released:
                self._is_released = True
                device.vdevices.remove(self)
                device.events.append('vdevice released')

    class Stream:  # InferModel.InferStream
        def __init__(self, infer_stream: dict[str, Any]) -> None:
            self._stream = infer_stream

        @property
        def name(self) -> str:
            return self._stream['name']

        @property
        def shape(self) -> list[int]:
            return list(self._stream['shape'])

        @property
        def format(self) -> Any:
            return SimpleNamespace(
                type=module.FormatType[self._stream['type']],
                order=module.FormatOrder[self._stream['order']],
                flags=None,
            )

        @property
        def quant_infos(self) -> list[Any]:
            return [
                SimpleNamespace(qp_zp=zp, qp_scale=scale, limvals_min=0.0, limvals_max=0.0)
                for zp, scale in self._stream['quantisation']
            ]

        @property
        def is_nms(self) -> bool:
            return 'NMS' in self._stream['order']

        def set_format_type(self, type: Any) -> None:
            # After configure() it is of no effect, and no error: see _frozen below.
            self._stream['type'] = type.name

    class InferModel:
        InferStream = Stream

        def __init__(self, infer_model: VDevice, hef_path: Any) -> None:
            self._vdevice, self._hef_path = infer_model, hef_path
            self._header, self._network = read(hef_path)
            self._streams = json.loads(json.dumps(self._header))  # formats may change

        @property
        def hef(self) -> HEF:
            return HEF(self._hef_path)

        def set_batch_size(self, batch_size: int) -> None:
            self._batch_size = batch_size

        @property
        def input_names(self) -> list[str]:
            return [self._streams['input']['name']]

        @property
        def output_names(self) -> list[str]:
            return [output['name'] for output in self._streams['outputs']]

        @property
        def inputs(self) -> list[Stream]:
            return [Stream(self._streams['input'])]

        @property
        def outputs(self) -> list[Stream]:
            return [Stream(output) for output in self._streams['outputs']]

        def input(self, name: str = '') -> Stream:
            return self._find(self.inputs, name)

        def output(self, name: str = '') -> Stream:
            return self._find(self.outputs, name)

        @staticmethod
        def _find(streams: list[Stream], name: str) -> Stream:
            for stream in streams:
                if name == stream.name or (not name and len(streams) == 1):
                    return stream
            raise make_status(61, 'HAILO_NOT_FOUND')

        def configure(self) -> 'ConfiguredInferModel':
            chip = module.DeviceArchitectureTypes(device.architecture).name
            compatible = {'HAILO8L': ('HAILO8L', 'HAILO8')}  # only a warning in the log
            if chip not in compatible.get(self._header['arch'], (self._header['arch'],)):
                raise getattr(module, api['mismatched_hef'])('HEF is not compatible with device')
            return ConfiguredInferModel(self, self)

    class Buffer:  # ConfiguredInferModel.Bindings.InferStream
        def __init__(self, infer_stream: Stream, nms_info: Any = None) -> None:
            self._buffer: Any = None

        def set_buffer(self, buffer: Any) -> None:
            if not buffer.flags.c_contiguous:
                raise HailoRTException('Buffer must be C_CONTIGUOUS')
            if not buffer.flags.writeable:  # pybind11 asks for mutable_data(), of inputs too
                raise ValueError('array is not writeable')
            self._buffer = buffer

        def get_buffer(self, tf_format: Any = False) -> Any:
            return self._buffer

    class Bindings:
        InferStream = Buffer

        def __init__(
            self, bindings: Any, input_names: Any, output_names: Any, nms_infos: Any
        ) -> None:
            self._buffers = {name: Buffer(bindings) for name in (*input_names, *output_names)}
            self._inputs, self._outputs = input_names, output_names

        def input(self, name: str = '') -> Buffer:
            return self._find(self._inputs, name)

        def output(self, name: str = '') -> Buffer:
            return self._find(self._outputs, name)

        def _find(self, names: list[str], name: str) -> Buffer:
            if not name and len(names) == 1:
                name = names[0]
            if name not in names:
                raise make_status(61, 'HAILO_NOT_FOUND')
            return self._buffers[name]

    class AsyncInferJob:
        def __init__(self, job: Callable[[], int]) -> None:
            self._done = threading.Event()
            self._thread = threading.Thread(target=self._work, args=(job,), daemon=True)
            self.was_waited_for = False

        def _work(self, job: Callable[[], int]) -> None:
            job()
            self._done.set()

        def wait(self, timeout_ms: int) -> None:
            # It succeeds for a job that failed: only the callback learns of the failure.
            if not self._done.wait(timeout_ms / 1000):
                raise make_status(4, 'HAILO_TIMEOUT')
            self.was_waited_for = True

    class AsyncInferCompletionInfo:
        def __init__(self, exception: Any) -> None:
            self._exception = exception

        @property
        def exception(self) -> Any:
            return self._exception

    class ConfiguredInferModel:
        def __init__(self, configured_infer_model: InferModel, infer_model: InferModel) -> None:
            self._model = configured_infer_model
            self._frozen = json.loads(json.dumps(self._model._streams))
            self._is_active = self._is_shut_down = False
            self._queue = threading.Lock()
            device.events.append('configured')

        def _has_scheduler(self) -> bool:
            algorithm = self._model._vdevice._params.scheduling_algorithm
            return algorithm == module.HailoSchedulingAlgorithm.ROUND_ROBIN

        def activate(self) -> None:
            if self._has_scheduler():
                raise make_status(6, 'HAILO_INVALID_OPERATION')
            self._is_active = True

        def deactivate(self) -> None:
            self._is_active = False

        def create_bindings(
            self, input_buffers: Any = None, output_buffers: Any = None
        ) -> Bindings:
            names = [output['name'] for output in self._frozen['outputs']]
            bindings = Bindings(None, self._model.input_names, names, {})
            for name, buffer in (input_buffers or {}).items():
                bindings.input(name).set_buffer(buffer)
            for name, buffer in (output_buffers or {}).items():
                bindings.output(name).set_buffer(buffer)
            return bindings

        def wait_for_async_ready(self, timeout_ms: int = 1000, frames_count: int = 1) -> None:
            if self._is_shut_down:
                raise make_status(63, 'HAILO_STREAM_ABORT')
            if device.in_flight + frames_count > QUEUE_SIZE:
                raise make_status(4, 'HAILO_TIMEOUT')

        def get_async_queue_size(self) -> int:
            return QUEUE_SIZE

        def run_async(self, bindings: Any, callback: Any = None) -> AsyncInferJob:
            (frame,) = bindings  # a list, also of one
            if self._is_shut_down:
                raise make_status(63, 'HAILO_STREAM_ABORT')
            try:
                self._check(frame)
            except HailoRTException:
                self.shutdown()  # as libhailort does after any error
                raise
            with self._queue:
                device.in_flight += 1
                device.max_in_flight = max(device.max_in_flight, device.in_flight)
            job = AsyncInferJob(lambda: self._execute(frame, callback))
            device.jobs.append(job)
            job._thread.start()
            return job

        def _check(self, frame: Bindings) -> None:
            if not self._has_scheduler() and not self._is_active:
                raise make_status(69, 'HAILO_NETWORK_GROUP_NOT_ACTIVATED')
            for stream in (self._frozen['input'], *self._frozen['outputs']):
                buffer = frame._buffers[stream['name']]._buffer
                if buffer is None:
                    raise make_status(61, 'HAILO_NOT_FOUND')
                size = int(np.prod(stream['shape'])) * np.dtype(stream['type'].lower()).itemsize
                if buffer.nbytes != size:
                    raise make_status(6, 'HAILO_INVALID_OPERATION')

        def _execute(self, frame: Bindings, callback: Any) -> None:
            device.running.wait(10)
            image = frame.input()._buffer
            status = 63 if self._is_shut_down else device.failures and device.failures.popleft()
            if status:
                for output in self._frozen['outputs']:  # memory that nobody has written
                    frame.output(output['name'])._buffer.view(np.uint8)[...] = 0xAA
            else:
                results = run_network(self._model._header, self._model._network, image)
                for output in self._frozen['outputs']:
                    buffer = frame.output(output['name'])._buffer
                    buffer[...] = quantise(results[output['name']], output).reshape(buffer.shape)
            with self._queue:
                device.in_flight -= 1
            if callback:
                error = make_status(status, STATUS.get(status, 'HAILO_X')) if status else None
                if status:
                    self._is_shut_down = True
                callback(completion_info=AsyncInferCompletionInfo(error))  # by keyword

        def shutdown(self) -> None:
            self._is_shut_down = True
            device.events.append('shut down')

    ConfiguredInferModel.Bindings = Bindings
    classes = (HEF, Control, Device, VDevice, InferModel, ConfiguredInferModel, AsyncInferJob,
               AsyncInferCompletionInfo)  # fmt: skip
    for cls in classes:
        setattr(module, cls.__name__, cls)
    package, folder = ModuleType('hailo_platform'), ModuleType('hailo_platform.pyhailort')
    package.__version__, package.pyhailort, folder.pyhailort = version, folder, module
    for name in api['top_level']:
        setattr(package, name, getattr(module, name))
    return package
