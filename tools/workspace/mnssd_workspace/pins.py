"""Read the pinned requirements and the hashes of their files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import re

from mnssd_workspace.errors import WorkspaceError

__all__ = ['Pin', 'read_hashes', 'read_pins']

_HEADING = re.compile(r'#\s*\[(\w+)\]')
_PIN = re.compile(r'([a-z0-9]+(?:-[a-z0-9]+)*)==([^\s;]+)(?:\s*;\s*(.+))?')
_LOCKED = re.compile(r'([a-z0-9]+(?:-[a-z0-9]+)*==[^\s;\\]+)')
_HASH = re.compile(r'--hash=(sha256:[0-9a-f]{64})')


@dataclass(frozen=True)
class Pin:
    """
    Hold one line of the constraints file.

    :param name: of the distribution, normalised.
    :param line: as pip reads it, with its marker.
    :param hashes: ``sha256:...`` of every file that may be installed for it.
    """

    name: str
    line: str
    hashes: tuple[str, ...]

    @property
    def requirement(self) -> str:
        """Return the line that pip needs in its hash-checking mode."""
        return ' '.join([self.line, *(f'--hash={digest}' for digest in self.hashes)])


def read_hashes(path: Path) -> dict[str, tuple[str, ...]]:
    """
    Read the hashes of each ``name==version``.

    :param path: of the lock file that ``make lock`` writes.
    """
    hashes: dict[str, list[str]] = {}
    digests: list[str] = []
    for line in path.read_text().splitlines():
        if locked := _LOCKED.match(line):
            digests = hashes.setdefault(locked[1], [])
        digests += _HASH.findall(line)
    return {name: tuple(dict.fromkeys(found)) for name, found in hashes.items()}


def read_pins(path: Path, lock: Path) -> dict[str, tuple[Pin, ...]]:
    """
    Read the groups of pins, in their order.

    :param path: of the constraints file.
    :param lock: of the file with the hashes.
    :raises WorkspaceError: if a line is no exact pin, belongs to no group or has no hash.
    """
    hashes = read_hashes(lock)
    groups: dict[str, list[Pin]] = {}
    group: list[Pin] | None = None
    for number, text in enumerate(path.read_text().splitlines(), start=1):
        line = text.strip()
        heading = _HEADING.match(line)
        if heading:
            group = groups.setdefault(heading[1], [])
        if not line or line.startswith('#'):
            continue
        pin = _PIN.fullmatch(line)
        if pin is None or group is None:
            raise WorkspaceError(
                f'expected `name==version ; marker` under a group, got {line!r} '
                f'in {path}, line {number}'
            )
        digests = hashes.get(f'{pin[1]}=={pin[2]}')
        if not digests:
            raise WorkspaceError(
                f'expected a hash of {pin[1]}=={pin[2]} in {lock}, got none; run `make lock`'
            )
        group.append(Pin(pin[1], line, digests))
    return {name: tuple(pins) for name, pins in groups.items()}
