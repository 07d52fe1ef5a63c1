"""Describe the machine that a figure was measured on."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
import os
from pathlib import Path
import platform
import re

from mnssd_perception.benchmark.sensors import read_line, ROOT

# Those of the runtimes are in the description of each engine.
PACKAGES = ('mnssd_perception', 'numpy', 'opencv-python-headless', 'opencv-python')


@dataclass(frozen=True)
class Host:
    """
    A machine, as far as it says.

    :ivar machine: model of the board; empty on a PC.
    :ivar num_cores: that this process may use.
    :ivar governors: of the clock of the cores, such as ``performance``; empty where unknown.
    :ivar memory_mib: of the machine, MiB; 0 where unknown.
    :ivar packages: name to version.
    :ivar load: processes that wanted to run during the last minute, on average.
    """

    machine: str
    cpu: str
    architecture: str
    num_cores: int
    governors: tuple[str, ...]
    memory_mib: int
    system: str
    packages: dict[str, str]
    load: float


def describe_host(root: Path = ROOT) -> Host:
    """Describe this machine."""
    governors = {
        read_line(path)
        for path in root.glob('sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor')
    }
    memory = re.search(r'MemTotal:\s*(\d+) kB', _read(root / 'proc/meminfo'))
    load = re.match(r'[\d.]+', _read(root / 'proc/loadavg'))
    return Host(
        read_line(root / 'proc/device-tree/model'),
        describe_cpu(_read(root / 'proc/cpuinfo')),
        platform.machine(),
        len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1,
        tuple(sorted(governors - {''})),
        int(memory[1]) // 1024 if memory else 0,
        f'{platform.system()} {platform.release()}, Python {platform.python_version()}',
        _package_versions(),
        float(load[0]) if load else 0.0,
    )


def describe_cpu(cpu_info: str) -> str:
    """
    Name the processor.

    :param cpu_info: content of ``/proc/cpuinfo``; on Arm it has numbers in place of a name.
    """
    values = {
        key: sorted(set(re.findall(rf'^{key}\s*: (.+)$', cpu_info, re.MULTILINE)))
        for key in ('model name', 'CPU implementer', 'CPU part')
    }
    if values['model name']:
        return ', '.join(values['model name'])
    arm = [f'{key} {", ".join(names)}' for key, names in values.items() if names]
    return ', '.join(arm) or 'unknown'


def _package_versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # from a Debian package, or a source tree
            continue
    return versions


def _read(path: Path) -> str:
    try:
        return path.read_text(errors='replace')
    except OSError:
        return ''
