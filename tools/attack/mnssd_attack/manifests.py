"""Manifests of which something was changed."""

import json

from mnssd_perception.bundle import open_bundle
import numpy as np

from mnssd_attack.plain_data import change
from mnssd_attack.spoil import spoil
from mnssd_attack.target import Target

__all__ = ['attack_manifest']

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
            change(plain, generator)
        text = json.dumps(plain).encode()
    target.write_archive({**target.members, 'manifest.json': text})
    open_bundle(target.place)
