"""How busy a GPU is; a C library with the signatures of nvml.h stands in for the driver."""

import ctypes
from pathlib import Path
import shutil
import subprocess

from mnssd_training.train import gpu
import pytest
import torch

# Declarations from nvml.h of CUDA 12; 6 is NVML_ERROR_NOT_FOUND.
NVML = r"""
#include <string.h>
typedef int nvmlReturn_t;
typedef struct nvmlDevice_st *nvmlDevice_t;
typedef struct nvmlUtilization_st { unsigned int gpu; unsigned int memory; } nvmlUtilization_t;
static int device;
nvmlReturn_t nvmlInit_v2(void) { return 0; }
nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *handle) {
    if (strcmp(uuid, "GPU-1-2")) return 6;
    *handle = (nvmlDevice_t) &device;
    return 0;
}
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t handle, nvmlUtilization_t *rates) {
    if (handle != (nvmlDevice_t) &device) return 2;
    rates->gpu = 83;
    rates->memory = 20;
    return 0;
}
"""


@pytest.fixture(scope='session')
def nvml(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which('cc') or shutil.which('gcc')
    if not compiler:
        pytest.skip('needs a C compiler')
    source = tmp_path_factory.mktemp('nvml') / 'nvml.c'
    source.write_text(NVML)
    library = source.with_suffix('.so')
    subprocess.run([compiler, '-shared', '-fPIC', source, '-o', library], check=True)
    return ctypes.CDLL(str(library))


def test_cpu_has_no_usage() -> None:
    usage = gpu.GpuUsage(torch.device('cpu'))
    usage.sample()
    assert usage.collect() == {}


@pytest.mark.parametrize('uuid', ['1-2', 'GPU-1-2'])
def test_busy_share_is_that_of_nvml(
    nvml: ctypes.CDLL, uuid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, '_load_nvml', lambda: nvml)
    assert gpu.read_busy_share(uuid) == 0.83


def test_unknown_gpu_has_no_busy_share(nvml: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, '_load_nvml', lambda: nvml)
    assert gpu.read_busy_share('3-4') is None


def test_machine_without_driver_has_no_busy_share(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        assert Path(name).name == 'libnvidia-ml.so.1'
        raise OSError(f'{name}: cannot open shared object file')

    gpu._load_nvml.cache_clear()
    monkeypatch.setattr(ctypes, 'CDLL', fail)
    assert gpu.read_busy_share('1-2') is None
    gpu._load_nvml.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_usage_of_a_gpu() -> None:
    device = torch.device('cuda', 0)
    usage = gpu.GpuUsage(device)
    kept = torch.zeros(2**28, dtype=torch.uint8, device=device)
    usage.sample()
    collected = usage.collect()
    assert kept.numel() / 2**30 <= collected['gpu_memory_gib'] < 100
    assert 0 <= collected['gpu_busy'] <= 1
