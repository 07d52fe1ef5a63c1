"""The constraints file to groups of pinned requirements."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import re

from mnssd_workspace.errors import WorkspaceError

__all__ = ['Pin', 'read_pins']

_HEADING = re.compile(r'#\s*\[(\w+)\]')
_PIN = re.compile(r'([a-z0-9]+(?:-[a-z0-9]+)*)==(\S+)(?:\s*;\s*(.+))?')


@dataclass(frozen=True)
class Pin:
    """
    Hold one line of the constraints file.

    :param name: of the distribution, normalised.
    :param line: as pip reads it, with its marker.
    """

    name: str
    line: str


def read_pins(path: Path) -> dict[str, tuple[Pin, ...]]:
    """
    Read the groups of pins, in their order.

    :param path: of the constraints file.
    :raises WorkspaceError: if a line is no exact pin, or belongs to no group.
    """
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
        group.append(Pin(pin[1], line))
    return {name: tuple(pins) for name, pins in groups.items()}
