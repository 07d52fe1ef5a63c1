"""
Read power, temperature and memory from the files of Linux.

Every function takes the root of the file system, so that a test gives it the tree of another
machine. What a machine does not have is left out of the result, never guessed.
"""

from pathlib import Path
import re

ROOT = Path('/')
INA3221_CHANNELS = range(1, 4)  # in4 to in6 are shunt voltages, curr4 is a sum
CELSIUS = (-40.0, 150.0)  # a sensor that is switched off reports other values


def read_power(root: Path = ROOT) -> dict[str, float]:
    """
    Read the power sensors of the hwmon class, such as the INA3221 of a Jetson.

    Rails may contain each other (VDD_IN of a Jetson is the sum of the others and more), so that
    only a reader who knows the board may add them.

    :return: power of each rail, W.
    """
    power: dict[str, float] = {}
    for folder in sorted(root.glob('sys/class/hwmon/hwmon*')):
        name = read_line(folder / 'name')
        rails: dict[str, float] = {}
        for path in sorted([*folder.glob('power*_input'), *folder.glob('power*_average')]):
            stem = path.name.rpartition('_')[0]
            if (microwatts := _read_number(path)) is not None:
                rails.setdefault(_label(folder, stem, f'{name} {stem}'), microwatts / 1e6)
        for channel in INA3221_CHANNELS if name == 'ina3221' else ():
            millivolts = _read_number(folder / f'in{channel}_input')
            milliamperes = _read_number(folder / f'curr{channel}_input')
            label = _label(folder, f'in{channel}', f'{name} {channel}')
            if None not in (millivolts, milliamperes) and label != 'NC':  # not connected
                rails[label] = (millivolts or 0) * (milliamperes or 0) / 1e6
        for label, watts in rails.items():
            power[label if label not in power else f'{label} ({folder.name})'] = watts
    return power


def read_temperatures(root: Path = ROOT) -> dict[str, float]:
    """
    Read the thermal zones, or the sensors of the hwmon class where there are none.

    :return: temperature of each zone, degrees Celsius.
    """
    paths = [
        (read_line(folder / 'type') or folder.name, folder.name, folder / 'temp')
        for folder in sorted(root.glob('sys/class/thermal/thermal_zone*'))
    ] or [
        (_label(path.parent, path.name[:-6], path.parent.name), path.parent.name, path)
        for path in sorted(root.glob('sys/class/hwmon/hwmon*/temp*_input'))
    ]
    temperatures: dict[str, float] = {}
    for name, folder_name, path in paths:
        value = _read_number(path)
        if value is not None and CELSIUS[0] < value / 1000 < CELSIUS[1]:
            key = name if name not in temperatures else f'{name} ({folder_name})'
            temperatures[key] = value / 1000
    return temperatures


def read_memory(key: str, root: Path = ROOT) -> float | None:
    """
    Read the memory of this process.

    :param key: ``VmRSS`` for the resident set, ``VmHWM`` for its peak.
    :return: MiB; None where the system does not say.
    """
    try:
        text = (root / 'proc/self/status').read_text(errors='replace')
    except OSError:
        return None
    match = re.search(rf'^{key}:\s*(\d+) kB$', text, re.MULTILINE)
    return int(match[1]) / 1024 if match else None


def read_line(path: Path) -> str:
    """Read a file of one line; '' where that fails. Device trees end their strings in a NUL."""
    try:
        return path.read_text(errors='replace').strip('\0\n ')
    except OSError:  # sensors may be switched off, and governors missing
        return ''


def _label(folder: Path, stem: str, default: str) -> str:
    return read_line(folder / f'{stem}_label') or default


def _read_number(path: Path) -> float | None:
    try:
        return float(read_line(path))
    except ValueError:
        return None
