"""
Run a HEF on a Hailo-8, 8L, 10H or 15 through the InferModel API of HailoRT 4.20 and later.

The network takes uint8 pixels, normalises them on the chip and ends at the convolutions of its
heads, whose 8 or 16 bit outputs are dequantised here. Traps of the API that shape this module, all
read in the sources of pyhailort: ``job.wait`` succeeds for a job that failed, only its callback
learns of that; a failed job shuts the model down; a job that timed out still owns its buffers.
"""

from collections.abc import Iterator
from contextlib import contextmanager, ExitStack, suppress
from math import prod
import mmap
import os
import re
from typing import Any

from mnssd_perception.engines.engine import Engine, EngineInfo, EngineOptions, Heads
from mnssd_perception.engines.head_maps import HeadMap, match_head_maps
from mnssd_perception.errors import EngineError, EngineUnavailableError, MnssdError
from mnssd_perception.ssd import ModelSpec
from mnssd_perception.text import sanitize_text
import numpy as np
from numpy.typing import NDArray

NAME = 'hailo'
MIN_VERSION = (4, 20)
GROUP_ID = 'SHARED'  # engines of one process share the device
IN_FLIGHT = 2  # the device computes a frame while the host prepares the next one

# Of one frame, which takes 10 ms or so. Waiting for a job can take twice as long, and the node
# wants another engine within a second.
TIMEOUT_MS = 500

HINTS = {  # by a part of the error's type or text
    'HEFNotCompatible': 'the HEF is for another chip; compile it with --arch for {device}',
    'InvalidHEF': 'the HEF is damaged or for another chip; compile it with --arch for {device}',
    'HAILO_HEF_FILE_CORRUPTED': 'not a HEF, or cut short',
    'HAILO_HEF_NOT_SUPPORTED': 'not a HEF, or of a compiler that HailoRT {version} does not know',
    'HAILO_OUT_OF_PHYSICAL_DEVICES': 'another process uses it; end that, or share the device',
    'HAILO_DEVICE_IN_USE': 'another process uses it; end that, or share the device',
    'DriverOperationFailed': "see 'dmesg | grep hailo'; driver and HailoRT need one version",
    'HAILO_INVALID_DRIVER_VERSION': 'driver and HailoRT need one version',
    'HAILO_RPC_FAILED': 'sharing the device needs the service: systemctl start hailort',
    'HAILO_CONNECTION_REFUSED': 'sharing the device needs the service: systemctl start hailort',
}


class HailoEngine(Engine):
    """
    Runs a HEF on a Hailo device.

    ``infer_batch`` keeps two frames in flight. After a failure the engine is of no more use.

    :param network: a HEF.
    :raises EngineUnavailableError: if there is no HailoRT or no device.
    :raises EngineError: if the HEF is not for this device or not of this specification.
    """

    def __init__(
        self,
        spec: ModelSpec,
        network: bytes,
        options: EngineOptions = EngineOptions(),
        precision: str = 'int8',
    ) -> None:
        super().__init__(spec)
        if reason := self.available():
            raise EngineUnavailableError(NAME, reason)
        hailo = _import_runtime()
        device = _device_architecture(hailo)
        self.info = EngineInfo(NAME, hailo.__version__, precision, device)
        self._logits = np.zeros((spec.num_priors, spec.num_classes + 1), np.float32)
        self._offsets = np.zeros((spec.num_priors, 4), np.float32)
        self._failure, self._process = '', os.getpid()
        try:
            self._open(hailo, network, options)
        except MnssdError:
            raise
        except Exception as error:  # pyhailort also raises errors of pybind11
            text = f'{type(error).__name__}: {error}'
            hint = next((hint for key, hint in HINTS.items() if key in text), '')
            hint = hint.format(device=device, version=hailo.__version__)
            reason = sanitize_text('; '.join(filter(None, (str(error), hint))), 500)
            raise EngineError(f'HailoRT cannot load the network: {reason}') from error

    def _open(self, hailo: Any, network: bytes, options: EngineOptions) -> None:
        params = hailo.VDevice.create_params()
        params.scheduling_algorithm = hailo.HailoSchedulingAlgorithm.ROUND_ROBIN  # 4.x: none
        params.group_id = GROUP_ID
        params.multi_process_service = options.shared_device
        with ExitStack() as resources:
            vdevice = hailo.VDevice(params)
            resources.callback(vdevice.release)
            model = vdevice.create_infer_model(bytes(network))
            model.set_batch_size(1)
            _check_input(hailo, model, self.spec)
            outputs = _match_outputs(hailo, model, self.spec)
            configured = model.configure()
            resources.callback(configured.shutdown)
            self._requests = [_Request(configured, model, outputs) for _ in range(IN_FLIGHT)]
            self._timeout = hailo.pyhailort.pyhailort.HailoRTTimeout
            self._resources = resources.pop_all()

    @staticmethod
    def available() -> str | None:
        """Say why no Hailo device can be used, or None if one can."""
        try:
            hailo = _import_runtime()
            version = hailo.__version__
            if tuple(map(int, re.findall(r'\d+', version)[:2])) < MIN_VERSION:
                floor = '.'.join(map(str, MIN_VERSION))
                return f'expected HailoRT {floor} or newer, got {version}; upgrade it'
            devices = hailo.Device.scan()
        except ImportError as error:
            return f'{error}; install HailoRT and its Python package, see docs/hailo.md'
        except Exception as error:  # a broken installation
            return f'HailoRT fails: {sanitize_text(str(error), 200)}'
        if not devices:
            return (
                'no Hailo device found; check that it is connected (lspci | grep -i hailo) and '
                'that its driver is loaded (ls /dev/hailo*; dmesg | grep -i hailo)'
            )
        return None

    def _run(self, image: NDArray[np.uint8]) -> Heads:
        request = self._requests[0]
        with self._in_use():
            request.submit(image)
            request.wait(self._logits, self._offsets)
        return self._logits, self._offsets

    def _run_batch(self, images: NDArray[np.uint8]) -> Heads:
        logits = np.empty((len(images), *self._logits.shape), np.float32)
        offsets = np.empty((len(images), *self._offsets.shape), np.float32)
        with self._in_use():
            for index in range(len(images) + 1):
                if index < len(images):
                    self._requests[index % IN_FLIGHT].submit(images[index])
                if index:
                    request = self._requests[(index - 1) % IN_FLIGHT]
                    request.wait(logits[index - 1], offsets[index - 1])
        return logits, offsets

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Refuse to go on after an error, when HailoRT may still write into our buffers."""
        if self._failure:
            raise EngineError(
                f"engine '{NAME}' stopped after an error: {self._failure}; open it again"
            )
        if os.getpid() != self._process:
            raise EngineError(
                f"engine '{NAME}' belongs to process {self._process}, a forked one cannot use it; "
                'open it in the process that uses it'
            )
        try:
            yield
        except BaseException as error:
            self._failure = sanitize_text(str(error) or type(error).__name__, 200)
            if isinstance(error, self._timeout):
                raise EngineError(
                    f"engine '{NAME}': expected a frame within {TIMEOUT_MS} ms, got none; the "
                    'device hangs, or other programs keep it busy'
                ) from error
            raise

    def _close(self) -> None:
        for request in self._requests:
            with suppress(Exception):  # it has failed before
                request.finish()
        self._requests.clear()
        self._resources.close()


class _Request:
    """A frame in flight: its buffers, and what became of it."""

    def __init__(self, configured: Any, model: Any, outputs: list['_Output']) -> None:
        shape = tuple(model.input().shape)
        # HailoRT copies an input that does not begin at a page.
        self._image = np.frombuffer(mmap.mmap(-1, prod(shape)), np.uint8).reshape(shape)
        self._outputs = [(output, np.empty(output.shape, output.dtype)) for output in outputs]
        self._configured = configured
        self._bindings = configured.create_bindings(
            output_buffers={output.name: buffer for output, buffer in self._outputs}
        )
        self._bindings.input().set_buffer(self._image)
        self._job: Any = None
        self._error: Exception | None = None

    def submit(self, image: NDArray[np.uint8]) -> None:
        """Start a job; the image may change afterwards."""
        np.copyto(self._image, image)
        self._error = None
        self._configured.wait_for_async_ready(timeout_ms=TIMEOUT_MS, frames_count=1)
        self._job = self._configured.run_async([self._bindings], callback=self._on_done)

    def _on_done(self, completion_info: Any) -> None:
        self._error = completion_info.exception

    def finish(self) -> None:
        """Wait for the job, if there is one."""
        job, self._job = self._job, None
        if job is not None:
            job.wait(TIMEOUT_MS)
        if self._error is not None:
            raise self._error

    def wait(self, *heads: NDArray[np.float32]) -> None:
        """Wait for the job and dequantise its outputs into ``logits`` and ``offsets``."""
        self.finish()
        for output, buffer in self._outputs:
            output.dequantise(buffer, heads)


class _Output:
    """An output of a HEF: the values are (q - zero_point) * scale, for all or each channel."""

    def __init__(self, hailo: Any, stream: Any, head_map: HeadMap) -> None:
        dtypes = {hailo.FormatType.UINT8: np.uint8, hailo.FormatType.UINT16: np.uint16}
        self.name, self._head_map = stream.name, head_map
        self.shape, self.dtype = tuple(stream.shape), dtypes.get(stream.format.type)
        infos = stream.quant_infos
        if self.dtype is None or len(infos) not in (1, head_map.shape[-1]):
            raise EngineError(
                f"output '{self.name}': expected 8 or 16 bit values with one quantisation or "
                f'{head_map.shape[-1]}, got {stream.format.type} with {len(infos)}'
            )
        self._zero_points = np.array([info.qp_zp for info in infos], np.float32)
        self._scales = np.array([info.qp_scale for info in infos], np.float32)

    def dequantise(
        self, values: NDArray[np.integer], heads: tuple[NDArray[np.float32], ...]
    ) -> None:
        view = self._head_map.view(heads)
        np.subtract(values.reshape(view.shape), self._zero_points, out=view)
        np.multiply(view, self._scales, out=view)


def _import_runtime() -> Any:
    """Import HailoRT, which would write hailort.log to the working directory unless told."""
    os.environ.setdefault('HAILORT_LOGGER_PATH', 'NONE')
    import hailo_platform

    return hailo_platform


def _device_architecture(hailo: Any) -> str:
    """Name the chip, such as ``hailo8l``; a device in a service or in use may not tell."""
    try:
        with hailo.Device(hailo.Device.scan()[0]) as device:
            return str(device.control.identify().device_architecture).lower()
    except Exception:  # only for messages; a chip newer than HailoRT is a ValueError
        return 'a Hailo device'


def _check_input(hailo: Any, model: Any, spec: ModelSpec) -> None:
    names = model.input_names
    stream = model.input(names[0])
    shape = (*spec.input_size, 3)
    if len(names) != 1 or tuple(stream.shape) != shape:
        raise EngineError(
            f'expected a network with one input of shape {shape}, '
            f'got {len(names)}, the first of shape {tuple(stream.shape)}'
        )
    info = stream.quant_infos[0]
    lowest, highest = ((pixel - info.qp_zp) * info.qp_scale for pixel in (0, 255))
    if not (abs(lowest) < 3 and 252 < highest < 258):
        raise EngineError(
            'expected a network that takes pixels of 0 to 255 and normalises them itself, got one '
            f'that takes {lowest:.3g} to {highest:.3g}; compile it with the normalisation in the '
            "model script, as 'mnssd compile-hailo' writes it"
        )
    stream.set_format_type(hailo.FormatType.UINT8)


def _match_outputs(hailo: Any, model: Any, spec: ModelSpec) -> list[_Output]:
    streams = {stream.name: stream for stream in model.outputs}
    if nms := [name for name, stream in streams.items() if stream.is_nms]:
        raise EngineError(
            f'expected a network that ends at its heads, but output {nms[0]!r} is that of an NMS; '
            'compile it without nms_postprocess'
        )
    matched = match_head_maps(
        spec,
        {name: tuple(stream.shape) for name, stream in streams.items()},
        model.hef.get_original_names_from_vstream_name,
    )
    return [_Output(hailo, streams[name], head_map) for name, head_map in matched.items()]
