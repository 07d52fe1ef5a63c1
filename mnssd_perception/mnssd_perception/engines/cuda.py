"""
The few calls of the CUDA runtime that TensorRT needs, through ctypes.

The library comes with JetPack, with CUDA, or with NVIDIA's wheels, so no Python package for CUDA
is needed: the ones on PyPI must match the driver and differ between JetPack 5, 6 and 7. The
functions below are the same in CUDA 11.4 to 13.
"""

from collections.abc import Callable, Iterator
import ctypes
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
import weakref

from mnssd_perception.errors import EngineError
from mnssd_perception.text import sanitize_text
import numpy as np
from numpy.typing import DTypeLike, NDArray

# From cuda_runtime_api.h and driver_types.h, which name the values.
HOST_TO_DEVICE, DEVICE_TO_HOST = 1, 2
NON_BLOCKING = 1  # a stream that does not wait for the default stream
THREAD_LOCAL = 1  # other threads may call CUDA during the capture of a graph
BLOCKING_SYNC = 4  # wait without a busy loop
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
NAME_BYTES = 256  # the name is the first member of cudaDeviceProp in every version
PROPERTIES_BYTES = 1 << 14  # more than cudaDeviceProp takes in any version, about 1 KiB

POINTER = ctypes.POINTER(c_void_p)  # where a call stores a pointer
NUMBER = ctypes.POINTER(c_int)
SIGNATURES = {
    'cudaDeviceGetAttribute': (NUMBER, c_int, c_int),
    'cudaFree': (c_void_p,),
    'cudaFreeHost': (c_void_p,),
    'cudaGetDeviceCount': (NUMBER,),
    'cudaGetDeviceProperties': (c_void_p, c_int),
    'cudaGetLastError': (),
    'cudaGraphDestroy': (c_void_p,),
    'cudaGraphExecDestroy': (c_void_p,),
    'cudaGraphInstantiateWithFlags': (POINTER, c_void_p, c_ulonglong),
    'cudaGraphLaunch': (c_void_p, c_void_p),
    'cudaMalloc': (POINTER, c_size_t),
    'cudaMallocHost': (POINTER, c_size_t),
    'cudaMemcpyAsync': (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    'cudaSetDeviceFlags': (c_uint,),
    'cudaStreamBeginCapture': (c_void_p, c_int),
    'cudaStreamCreateWithFlags': (POINTER, c_uint),
    'cudaStreamDestroy': (c_void_p,),
    'cudaStreamEndCapture': (c_void_p, POINTER),
    'cudaStreamSynchronize': (c_void_p,),
}
TEXTS = ('cudaGetErrorName', 'cudaGetErrorString')

LIBRARIES = ('libcudart.so', 'libcudart.so.13', 'libcudart.so.12', 'libcudart.so.11.0')
FOLDERS = ('lib64', 'lib', 'targets/*/lib')  # of an installation of CUDA


class CudaError(EngineError):
    """A call of the CUDA runtime failed."""


@dataclass(frozen=True)
class Gpu:
    """
    A GPU.

    :ivar capability: compute capability, such as ``8.7``.
    """

    name: str
    capability: str

    def __str__(self) -> str:
        return f'{self.name}, compute capability {self.capability}'


class Cuda:
    """
    The CUDA runtime. Pointers, streams and graphs are plain integers.

    Every method raises :class:`CudaError`, with CUDA's name of the error, when its call fails.

    :param library: ``libcudart``, loaded by ctypes.
    """

    def __init__(self, library: Any) -> None:
        self._library = library

    def count_devices(self) -> int:
        """Count the GPUs, without an initialisation of any."""
        count = c_int()
        self._call('cudaGetDeviceCount', byref(count))
        return count.value

    def describe_gpu(self) -> Gpu:
        """Describe the GPU that this process uses, the first."""
        properties = ctypes.create_string_buffer(PROPERTIES_BYTES)
        self._call('cudaGetDeviceProperties', properties, 0)
        name = ctypes.string_at(properties, NAME_BYTES).partition(b'\0')[0]
        numbers = []
        for attribute in (CAPABILITY_MAJOR, CAPABILITY_MINOR):
            number = c_int()
            self._call('cudaDeviceGetAttribute', byref(number), attribute, 0)
            numbers.append(number.value)
        return Gpu(sanitize_text(name.decode(errors='replace')), '{}.{}'.format(*numbers))

    def wait_without_spinning(self) -> None:
        """Let threads sleep while they wait for the GPU, where the driver allows it."""
        try:
            self._call('cudaSetDeviceFlags', BLOCKING_SYNC)
        except CudaError:  # older drivers refuse when the GPU is in use; threads spin then
            self.clear_error()

    def malloc(self, size: int) -> int:
        """Allocate device memory, aligned to 256 bytes."""
        return self._make('cudaMalloc', c_size_t(size))

    def free(self, pointer: int) -> None:
        """Free device memory."""
        self._call('cudaFree', pointer)

    def pinned_array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """
        Allocate an array in pinned host memory.

        The memory is freed with the last view of it, so an array that outlives its engine is
        still an array.
        """
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        pointer = self._make('cudaMallocHost', c_size_t(size))
        memory = (ctypes.c_ubyte * size).from_address(pointer)
        # Without its check: an error here can only be an earlier one, long reported.
        owner = weakref.finalize(memory, self._function('cudaFreeHost'), pointer)
        owner.atexit = False  # the process ends, and the driver may be gone by then
        return np.asarray(memory).view(dtype).reshape(shape)

    def upload(self, source: NDArray[Any], target: int, stream: int) -> None:
        """Copy a pinned array to the device, asynchronously."""
        pointer = source.ctypes.data
        self._call('cudaMemcpyAsync', target, pointer, source.nbytes, HOST_TO_DEVICE, stream)

    def download(self, source: int, target: NDArray[Any], stream: int) -> None:
        """Copy from the device to a pinned array, asynchronously."""
        pointer = target.ctypes.data
        self._call('cudaMemcpyAsync', pointer, source, target.nbytes, DEVICE_TO_HOST, stream)

    def create_stream(self) -> int:
        """Create a stream; TensorRT synchronises the whole device on the default one."""
        return self._make('cudaStreamCreateWithFlags', NON_BLOCKING)

    def synchronize(self, stream: int) -> None:
        """Wait until a stream has done its work; errors of that work appear here."""
        self._call('cudaStreamSynchronize', stream)

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream."""
        self._call('cudaStreamDestroy', stream)

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        """Make an executable graph of what a function enqueues, which does not run meanwhile."""
        graph = c_void_p()
        self._call('cudaStreamBeginCapture', stream, THREAD_LOCAL)
        try:
            try:
                enqueue()
            finally:
                self._call('cudaStreamEndCapture', stream, byref(graph))
            return self._make('cudaGraphInstantiateWithFlags', graph, 0)
        finally:
            if graph:
                self._call('cudaGraphDestroy', graph)

    def launch(self, graph: int, stream: int) -> None:
        """Run an executable graph on a stream."""
        self._call('cudaGraphLaunch', graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """Destroy an executable graph."""
        self._call('cudaGraphExecDestroy', graph)

    def clear_error(self) -> None:
        """Forget the last error, unless it has broken the device for this process."""
        self._function('cudaGetLastError')()

    def _make(self, name: str, *arguments: Any) -> int:
        """Call a function that stores a pointer in its first argument."""
        pointer = c_void_p()
        self._call(name, byref(pointer), *arguments)
        if not pointer.value:
            raise CudaError(f'{name}: expected a pointer, got none')
        return pointer.value

    def _call(self, name: str, *arguments: Any) -> None:
        code = self._function(name)(*arguments)
        if code:
            error_name, text = (self._describe(function, code) for function in TEXTS)
            raise CudaError(f'{name} failed with {error_name} ({code}): {text}')

    def _describe(self, name: str, code: int) -> str:
        function = getattr(self._library, name)
        function.restype, function.argtypes = c_char_p, (c_int,)
        return sanitize_text((function(code) or b'unknown').decode(errors='replace'))

    def _function(self, name: str) -> Any:
        try:
            function = getattr(self._library, name)
        except AttributeError as error:
            raise CudaError(f'the CUDA runtime has no {name}; CUDA 11.4 or later has') from error
        function.restype, function.argtypes = c_int, SIGNATURES[name]
        return function


def open_cuda() -> Cuda:
    """
    Open the CUDA runtime in which a GPU can be used.

    A machine may have several: of the system, and in wheels of other packages.

    :raises CudaError: saying why there is none.
    """
    reason = 'there is no CUDA runtime (libcudart); JetPack or the CUDA toolkit brings it'
    for library in load_libraries():
        cuda = Cuda(library)
        try:
            if cuda.count_devices():
                return cuda
            reason = 'there is no NVIDIA GPU'
        except CudaError as error:
            reason = f'the NVIDIA GPU cannot be used: {error}'
    raise CudaError(reason)


def load_libraries() -> Iterator[Any]:
    """Load each CUDA runtime on this machine that can be loaded."""
    for name in (*LIBRARIES, *_find_files()):
        try:
            yield ctypes.CDLL(str(name))
        except OSError:  # not on the search path, or for another processor
            continue


def _find_files() -> Iterator[Path]:
    """Find CUDA runtimes that the loader does not search for."""
    for root in (Path('/usr/local/cuda'), *sorted(Path('/usr/local').glob('cuda-*'))):
        for folder in FOLDERS:
            yield from sorted(root.glob(f'{folder}/libcudart.so*'))
    # Wheels put it into nvidia/cuda_runtime/lib (CUDA 11, 12) or nvidia/cu13/lib.
    nvidia = find_spec('nvidia')
    for location in (nvidia and nvidia.submodule_search_locations) or ():
        yield from sorted(Path(location).glob('*/lib/libcudart.so*'))
