"""
A CUDA runtime that works on host memory, for machines without a GPU.

It is called through ctypes as the real one is, with the prototypes of cuda_runtime_api.h. Streams
do nothing before they are synchronised, so that missing waits show, and memory is checked as the
device would: what is copied must have been allocated, on the side that the copy names.
"""

# ruff: noqa: N802 (functions of CUDA)

from collections.abc import Callable
import ctypes
from ctypes import c_int, c_size_t, c_uint, c_ulonglong, c_void_p

POINTER, NUMBER = ctypes.POINTER(c_void_p), ctypes.POINTER(c_int)
PROTOTYPES = {
    'cudaDeviceGetAttribute': (NUMBER, c_int, c_int),
    'cudaFree': (c_void_p,),
    'cudaFreeHost': (c_void_p,),
    'cudaGetDeviceCount': (NUMBER,),
    'cudaGetDeviceProperties': (c_void_p, c_int),
    'cudaGetErrorName': (c_int,),
    'cudaGetErrorString': (c_int,),
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
ERRORS = {
    1: b'cudaErrorInvalidValue',
    2: b'cudaErrorMemoryAllocation',
    35: b'cudaErrorInsufficientDriver',
    700: b'cudaErrorIllegalAddress',
    900: b'cudaErrorStreamCaptureUnsupported',
}
INVALID, NO_MEMORY, NO_DRIVER, ILLEGAL_ADDRESS, CAPTURE_UNSUPPORTED = ERRORS
ALIGNMENT = 256
NON_BLOCKING = 1

Work = Callable[[], bool]


class FakeCudart:
    """
    The functions of ``libcudart``.

    :ivar num_devices: 0 makes every call fail as without a driver.
    :ivar failures: name of a function to the error that it returns.
    :ivar missing: names of functions that this version does not have.
    :ivar calls: names of the functions that were called.
    :ivar live: what was made and not destroyed: pointer or handle to kind.
    """

    def __init__(self, num_devices: int = 1, gpu: str = 'Fake Orin') -> None:
        self.num_devices, self.gpu = num_devices, gpu
        self.failures: dict[str, int] = {}
        self.missing: set[str] = set()
        self.calls: list[str] = []
        self.live: dict[int, str] = {}
        self.crashes: list[BaseException] = []
        self._buffers: dict[int, tuple[ctypes.Array, int]] = {}
        self._queues: dict[int, list[Work]] = {}
        self._captured: dict[int, list[Work]] = {}
        self._graphs: dict[int, list[Work]] = {}
        self._texts = {code: ctypes.create_string_buffer(text) for code, text in ERRORS.items()}
        self._functions = {name: self._make(name, types) for name, types in PROTOTYPES.items()}
        self._next_handle = 0x1000

    def __getattr__(self, name: str) -> object:
        if name.startswith('_') or name in self.missing or name not in self._functions:
            raise AttributeError(name)
        return self._functions[name]

    def enqueue(self, stream: int, work: Work) -> None:
        """Give work to a stream, as a library does."""
        (self._captured if stream in self._captured else self._queues)[stream].append(work)

    def is_capturing(self, stream: int) -> bool:
        """Say whether a stream is recorded."""
        return stream in self._captured

    def count(self, kind: str) -> int:
        """Count what exists of a kind."""
        return list(self.live.values()).count(kind)

    def _make(self, name: str, types: tuple) -> object:
        is_text = name in ('cudaGetErrorName', 'cudaGetErrorString')

        def call(*arguments: object) -> int:
            self.calls.append(name)
            try:
                if is_text:
                    text = self._texts.get(arguments[0])
                    return ctypes.addressof(text) if text else 0
                if not self.num_devices:
                    return NO_DRIVER
                if failure := self.failures.get(name):
                    if name == 'cudaStreamEndCapture':  # ends it even so
                        self._captured.clear()
                    return failure
                return getattr(self, f'_{name}')(*arguments)
            except BaseException as error:  # ctypes would print and forget it
                self.crashes.append(error)
                return INVALID

        return ctypes.CFUNCTYPE(c_void_p if is_text else c_int, *types)(call)

    def _handle(self, kind: str) -> int:
        self._next_handle += 1
        self.live[self._next_handle] = kind
        return self._next_handle

    def _destroy(self, handle: int, kind: str) -> int:
        return 0 if self.live.get(handle) == kind and self.live.pop(handle) else INVALID

    def _cudaGetDeviceCount(self, count: object) -> int:
        count[0] = self.num_devices
        return 0

    def _cudaGetDeviceProperties(self, properties: int, device: int) -> int:
        name = self.gpu.encode()[:255] + b'\0'
        ctypes.memmove(properties, name, len(name))
        ctypes.memset(properties + 256, 0xFF, 776)  # what follows the name in CUDA 12
        return 0

    def _cudaDeviceGetAttribute(self, value: object, attribute: int, device: int) -> int:
        value[0] = {75: 8, 76: 7}[attribute]
        return 0

    def _cudaGetLastError(self) -> int:
        return 0

    def _cudaSetDeviceFlags(self, flags: int) -> int:
        return 0

    def _allocate(self, pointer: object, size: int, kind: str) -> int:
        buffer = ctypes.create_string_buffer(b'\xfe' * (size + ALIGNMENT))
        address = -(-ctypes.addressof(buffer) // ALIGNMENT) * ALIGNMENT
        self._buffers[address] = buffer, size
        self.live[address] = kind
        pointer[0] = address
        return 0

    def _cudaMalloc(self, pointer: object, size: int) -> int:
        return self._allocate(pointer, size, 'device')

    def _cudaMallocHost(self, pointer: object, size: int) -> int:
        return self._allocate(pointer, size, 'pinned')

    def _cudaFree(self, pointer: int) -> int:
        return self._destroy(pointer, 'device')

    def _cudaFreeHost(self, pointer: int) -> int:
        return self._destroy(pointer, 'pinned')

    def _is_within(self, pointer: int, size: int, kind: str) -> bool:
        return any(
            start <= pointer and pointer + size <= start + self._buffers[start][1]
            for start, other in self.live.items()
            if other == kind
        )

    def _cudaMemcpyAsync(
        self, target: int, source: int, size: int, direction: int, stream: int
    ) -> int:
        to, from_ = {1: ('device', 'pinned'), 2: ('pinned', 'device')}[direction]

        def copy() -> bool:
            is_valid = self._is_within(target, size, to) and self._is_within(source, size, from_)
            if is_valid:
                ctypes.memmove(target, source, size)
            return is_valid

        if self.live.get(stream) != 'stream':
            return INVALID
        self.enqueue(stream, copy)
        return 0

    def _cudaStreamCreateWithFlags(self, stream: object, flags: int) -> int:
        if flags != NON_BLOCKING:
            return INVALID
        stream[0] = handle = self._handle('stream')
        self._queues[handle] = []
        return 0

    def _cudaStreamDestroy(self, stream: int) -> int:
        return self._destroy(stream, 'stream')

    def _cudaStreamSynchronize(self, stream: int) -> int:
        if stream in self._captured:
            return CAPTURE_UNSUPPORTED
        work, self._queues[stream] = self._queues[stream], []
        return 0 if all(item() for item in work) else ILLEGAL_ADDRESS

    def _cudaStreamBeginCapture(self, stream: int, mode: int) -> int:
        assert mode == 1, 'other threads could not call CUDA'
        self._captured[stream] = []
        return 0

    def _cudaStreamEndCapture(self, stream: int, graph: object) -> int:
        handle = self._handle('graph')
        self._graphs[handle] = self._captured.pop(stream)
        graph[0] = handle
        return 0

    def _cudaGraphInstantiateWithFlags(self, executable: object, graph: int, flags: int) -> int:
        executable[0] = handle = self._handle('executable graph')
        self._graphs[handle] = self._graphs[graph]
        return 0

    def _cudaGraphDestroy(self, graph: int) -> int:
        self._graphs.pop(graph, None)
        return self._destroy(graph, 'graph')

    def _cudaGraphExecDestroy(self, graph: int) -> int:
        self._graphs.pop(graph, None)
        return self._destroy(graph, 'executable graph')

    def _cudaGraphLaunch(self, graph: int, stream: int) -> int:
        if self.live.get(graph) != 'executable graph' or self.live.get(stream) != 'stream':
            return INVALID
        self._queues[stream] += self._graphs[graph]
        return 0
