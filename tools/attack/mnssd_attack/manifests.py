"""Manifests of which something was changed."""

import json
from typing import Any

from mnssd_perception.bundle import open_bundle
import numpy as np

from mnssd_attack.spoil import spoil
from mnssd_attack.target import Target

__all__ = ['attack_manifest']

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 10**9, 2**63, 10**400, 0.0, -0.5, 1e308, 1e-320, '', 'text',
    '\0', '\ud800', '../../etc/passwd', '/etc/passwd', 'C:\\x', 'x' * 100_000, [], [[]], [None],
    {}, {'': None}, [1, 2], [0.5, 0.5, 0.5, 0.5], {'path': 'network.onnx'}, list(range(2000)),
)  # fmt: skip
TEXTS = (
    b'', b'null', b'[]', b'{', b'\xff\xfe', b'[' * 200_000, b'{"a":' * 200_000, b'1' * 200_000,
    b'{"schema": 1, "schema": 2}', b'{"schema": NaN}', b'{"schema": 1e999}', b'\xef\xbb\xbf{}',
    b'"' + b'\\u0000' * 1000 + b'"', b' ' * (9 << 20), b'{"schema": 99}', b'-',
)  # fmt: skip


def attack_manifest(target: Target, generator: np.random.Generator) -> None:
    """
    Open a bundle whose manifest was changed.

    :param target: what is attacked.
    :param generator: of the change.
    """
    sound = target.members['manifest.json']
    way = generator.random()
    if way < 0.15:
        text = TEXTS[int(generator.integers(0, len(TEXTS)))]
    elif way < 0.3:
        text = spoil(sound, generator)
    else:
        plain = json.loads(sound)
        for _ in range(int(generator.integers(1, 4))):
            _change(plain, generator)
        text = json.dumps(plain).encode()
    target.write_archive({**target.members, 'manifest.json': text})
    open_bundle(target.place)


def _change(plain: Any, generator: np.random.Generator) -> None:
    """Change one thing somewhere in plain data, in place."""
    places = list(_places(plain))
    if not places:
        return
    holder, key = places[int(generator.integers(0, len(places)))]
    way = generator.choice(['replace', 'replace', 'replace', 'remove', 'add', 'nudge'])
    if way == 'remove':
        del holder[key]
    elif way == 'add' and isinstance(holder, dict):
        holder[f'{key}_'] = holder[key]
    elif way == 'add':
        holder.append(holder[key])
    elif way == 'nudge' and isinstance(holder[key], (int, float)):
        holder[key] += int(generator.integers(-2, 3))
    elif way == 'nudge' and isinstance(holder[key], str):
        holder[key] += 'x'
    else:
        holder[key] = VALUES[int(generator.integers(0, len(VALUES)))]


def _places(plain: Any) -> Any:
    """List (holder, key) of everything in plain data."""
    if isinstance(plain, dict):
        items: Any = plain.items()
    elif isinstance(plain, list):
        items = enumerate(plain)
    else:
        return
    for key, item in items:
        yield plain, key
        yield from _places(item)
