"""Descriptions of this machine and of others."""

from pathlib import Path

from mnssd_perception.benchmark.host import describe_cpu, describe_host

X86 = """
processor\t: 0
model name\t: AMD EPYC 9B14
processor\t: 1
model name\t: AMD EPYC 9B14
"""
ARM = """
processor\t: 0
CPU implementer\t: 0x41
CPU part\t: 0xd0b
processor\t: 1
CPU implementer\t: 0x41
CPU part\t: 0xd05
"""


def test_processors() -> None:
    assert describe_cpu('') == 'unknown'
    assert describe_cpu(X86) == 'AMD EPYC 9B14'
    assert describe_cpu(ARM) == 'CPU implementer 0x41, CPU part 0xd05, 0xd0b'


def test_a_machine_that_says_nothing(tmp_path: Path) -> None:
    host = describe_host(tmp_path)
    assert (host.machine, host.cpu, host.governors) == ('', 'unknown', ())
    assert (host.memory_mib, host.load) == (0, 0.0)
    assert host.num_cores >= 1


def test_a_board(tmp_path: Path) -> None:
    files = {
        'proc/device-tree/model': 'Raspberry Pi 5 Model B Rev 1.0\0',
        'proc/cpuinfo': ARM,
        'proc/meminfo': 'MemTotal:        8245312 kB\nMemFree: 1 kB\n',
        'proc/loadavg': '0.52 0.58 0.59 1/389 2019\n',
        'sys/devices/system/cpu/cpu0/cpufreq/scaling_governor': 'ondemand\n',
        'sys/devices/system/cpu/cpu1/cpufreq/scaling_governor': 'ondemand\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    host = describe_host(tmp_path)
    assert host.machine == 'Raspberry Pi 5 Model B Rev 1.0'
    assert host.governors == ('ondemand',)
    assert (host.memory_mib, host.load) == (8052, 0.52)
    assert 'numpy' in host.packages
