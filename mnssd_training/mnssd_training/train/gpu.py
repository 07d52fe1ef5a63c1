"""
Measure how busy a GPU is, and its memory.

NVML is called through ctypes: its driver library is there wherever CUDA works, while PyTorch's
``torch.cuda.utilization`` needs a package besides. The share of busy time is that of the device:
it counts all processes.
"""

import ctypes
from functools import lru_cache
import time
from typing import Any

import torch

INTERVAL = 1.0  # between two samples, each of which is a mean over up to a second [s]


class _Utilization(ctypes.Structure):
    """``nvmlUtilization_t``: percent of the last sample period."""

    _fields_ = [('gpu', ctypes.c_uint), ('memory', ctypes.c_uint)]


class GpuUsage:
    """Mean share of busy time and peak memory of the device of a run; nothing for a CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._samples: list[float] = []
        self._last = 0.0

    def sample(self) -> None:
        """Measure, unless the last sample is younger than a second."""
        if self._device.type != 'cuda' or time.monotonic() - self._last < INTERVAL:
            return
        self._last = time.monotonic()
        busy = read_busy_share(str(torch.cuda.get_device_properties(self._device).uuid))
        self._samples += [] if busy is None else [busy]

    def collect(self) -> dict[str, float]:
        """Return the means and peaks since the last call, as keys of the metrics."""
        if self._device.type != 'cuda':
            return {}
        peak = torch.cuda.max_memory_allocated(self._device) / 2**30
        torch.cuda.reset_peak_memory_stats(self._device)
        usage = {'gpu_memory_gib': round(peak, 3)}
        if self._samples:
            usage['gpu_busy'] = round(sum(self._samples) / len(self._samples), 4)
        self._samples = []
        return usage


def read_busy_share(uuid: str) -> float | None:
    """
    Read the share of the last sample period in which a GPU was busy, in [0, 1].

    :param uuid: of the GPU, with or without ``GPU-``.
    :return: None where NVML is missing or cannot tell.
    """
    nvml = _load_nvml()
    if nvml is None:
        return None
    handle, rates = ctypes.c_void_p(), _Utilization()
    name = f'GPU-{uuid.removeprefix("GPU-")}'.encode()
    if nvml.nvmlDeviceGetHandleByUUID(ctypes.c_char_p(name), ctypes.byref(handle)):
        return None
    if nvml.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(rates)):
        return None
    return rates.gpu / 100


@lru_cache(maxsize=1)
def _load_nvml() -> Any:
    """Load and initialise NVML; None without a driver."""
    try:
        nvml = ctypes.CDLL('libnvidia-ml.so.1')
        return None if nvml.nvmlInit_v2() else nvml
    except (OSError, AttributeError):
        return None
