"""Tests of the calls to CUDA, on a fake runtime and on the real one without a driver."""

import gc

from fake_cuda import FakeCudart
from mnssd_perception.engines import cuda
from mnssd_perception.engines.cuda import Cuda, CudaError, open_cuda
import numpy as np
import pytest


@pytest.fixture
def opened(cudart):
    """Open the fake runtime."""
    return open_cuda()


def test_no_runtime(monkeypatch):
    monkeypatch.setattr(cuda, 'load_libraries', lambda: iter(()))
    with pytest.raises(CudaError, match='there is no CUDA runtime'):
        open_cuda()


def test_no_gpu(monkeypatch):
    class NoGpu(FakeCudart):
        def _cudaGetDeviceCount(self, count):  # noqa: N802
            count[0] = 0
            return 0

    monkeypatch.setattr(cuda, 'load_libraries', lambda: iter([NoGpu()]))
    with pytest.raises(CudaError, match='there is no NVIDIA GPU'):
        open_cuda()


def test_a_runtime_that_fits_the_driver_is_found_behind_others(monkeypatch):
    # A wheel of another package may bring a runtime that is too new for the driver.
    libraries = [FakeCudart(num_devices=0), FakeCudart()]
    monkeypatch.setattr(cuda, 'load_libraries', lambda: iter(libraries))
    open_cuda().create_stream()
    assert libraries[1].count('stream') == 1


def test_the_real_runtime_fails_by_name_without_a_driver():
    library = next(cuda.load_libraries(), None)
    if library is None:
        pytest.skip('no libcudart here')
    runtime = Cuda(library)
    try:
        if runtime.count_devices():
            pytest.skip('there is a GPU')
    except CudaError as error:
        assert 'cudaGetDeviceCount failed with cudaError' in str(error)
    for call in (
        lambda: runtime.malloc(4),
        lambda: runtime.pinned_array((2, 3), np.float32),
        runtime.create_stream,
        runtime.describe_gpu,
        lambda: runtime.synchronize(0),
        lambda: runtime.capture(0, lambda: None),
    ):
        with pytest.raises(CudaError, match=r'failed with cudaError\w+ \(\d+\): '):
            call()
    runtime.wait_without_spinning()
    with pytest.raises(CudaError, match='cannot be used: cudaGetDeviceCount failed'):
        open_cuda()


def test_every_function_is_in_the_real_runtime():
    library = next(cuda.load_libraries(), None)
    if library is None:
        pytest.skip('no libcudart here')
    for name in (*cuda.SIGNATURES, *cuda.TEXTS):
        assert getattr(library, name)


def test_describes_the_gpu(opened, cudart):
    cudart.gpu = 'Orin\n(nvgpu)'
    assert str(opened.describe_gpu()) == r'Orin\n(nvgpu), compute capability 8.7'


def test_copies_there_and_back_when_the_stream_is_synchronised(opened):
    source = opened.pinned_array((2, 3), np.float32)
    target = opened.pinned_array((2, 3), np.float32)
    source[:] = np.arange(6).reshape(2, 3)
    target.fill(-1)
    device, stream = opened.malloc(source.nbytes), opened.create_stream()
    assert device % 256 == 0
    opened.upload(source, device, stream)
    opened.download(device, target, stream)
    assert (target == -1).all()
    opened.synchronize(stream)
    np.testing.assert_array_equal(target, source)


def test_a_graph_repeats_what_was_captured(opened, cudart):
    source = opened.pinned_array((4,), np.uint8)
    target = opened.pinned_array((4,), np.uint8)
    device, stream = opened.malloc(4), opened.create_stream()

    def enqueue():
        opened.upload(source, device, stream)
        opened.download(device, target, stream)

    graph = opened.capture(stream, enqueue)
    for value in (3, 4):
        source.fill(value)
        opened.launch(graph, stream)
        opened.synchronize(stream)
        assert (target == value).all()
    assert cudart.count('graph') == 0
    opened.destroy_graph(graph)
    assert cudart.count('executable graph') == 0


@pytest.mark.parametrize(
    'name', ['cudaStreamBeginCapture', 'cudaStreamEndCapture', 'cudaGraphInstantiateWithFlags']
)
def test_a_capture_that_fails_leaves_no_graph(opened, cudart, name):
    stream = opened.create_stream()
    cudart.failures[name] = 900
    with pytest.raises(CudaError, match=rf'{name} failed with cudaErrorStreamCaptureUnsupported'):
        opened.capture(stream, lambda: None)
    assert cudart.count('graph') == 0


def test_an_error_while_capturing_ends_the_capture(opened, cudart):
    stream = opened.create_stream()

    def enqueue():
        raise CudaError('no')

    with pytest.raises(CudaError, match='no'):
        opened.capture(stream, enqueue)
    opened.synchronize(stream)
    assert cudart.count('graph') == 0


def test_pinned_memory_lives_as_long_as_its_views(opened, cudart):
    view = opened.pinned_array((2, 4), np.float32)[1, ::2]
    gc.collect()
    view[:] = 7
    assert cudart.count('pinned') == 1
    del view
    gc.collect()
    assert cudart.count('pinned') == 0


def test_errors_carry_their_name_and_number(opened, cudart):
    cudart.failures['cudaMalloc'] = 2
    with pytest.raises(CudaError, match=r'cudaMalloc failed with cudaErrorMemoryAllocation \(2\)'):
        opened.malloc(4)
    cudart.failures['cudaMalloc'] = 12345
    with pytest.raises(CudaError, match=r'failed with unknown \(12345\)'):
        opened.malloc(4)


def test_an_error_of_the_work_appears_when_the_stream_is_synchronised(opened):
    array, stream = opened.pinned_array((4,), np.uint8), opened.create_stream()
    opened.upload(array, opened.malloc(2), stream)  # more than is there
    with pytest.raises(CudaError, match='cudaErrorIllegalAddress'):
        opened.synchronize(stream)


def test_a_runtime_that_is_too_old_is_named(opened, cudart):
    cudart.missing.add('cudaGraphInstantiateWithFlags')
    with pytest.raises(CudaError, match=r'no cudaGraphInstantiateWithFlags; CUDA 11\.4 or later'):
        opened.capture(opened.create_stream(), lambda: None)


def test_a_driver_that_refuses_to_wait_without_spinning_is_no_error(opened, cudart):
    cudart.failures['cudaSetDeviceFlags'] = 1
    opened.wait_without_spinning()
    assert cudart.calls[-1] == 'cudaGetLastError'
