"""Plain data to plain data of which something was changed."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np

__all__ = ['change', 'VALUES']

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 10**9, 2**63, 10**400, 0.0, -0.5, 1e308, 1e-320, '', 'text',
    '\0', '\ud800', '../../etc/passwd', '/etc/passwd', 'C:\\x', 'x' * 100_000, [], [[]], [None],
    {}, {'': None}, [1, 2], [0.5, 0.5, 0.5, 0.5], {'path': 'network.onnx'}, list(range(2000)),
)  # fmt: skip


def change(plain: Any, generator: np.random.Generator) -> None:
    """
    Change one thing somewhere in dicts and lists, in place.

    :param plain: the dict or list.
    :param generator: of the change.
    """
    places = list(_places(plain))
    if not places:
        return
    holder, key = places[int(generator.integers(0, len(places)))]
    way = generator.choice(['replace', 'replace', 'replace', 'remove', 'add', 'nudge', 'misspell'])
    if way == 'remove':
        del holder[key]
    elif way == 'add' and isinstance(holder, dict):
        holder[f'{key}_'] = holder[key]
    elif way == 'add':
        holder.append(holder[key])
    elif way == 'misspell' and isinstance(holder, dict) and len(key) > 1:
        at = int(generator.integers(1, len(key)))
        holder[key[: at - 1] + key[at] + key[at - 1] + key[at + 1 :]] = holder.pop(key)
    elif way == 'nudge' and isinstance(holder[key], (int, float)):
        holder[key] += int(generator.integers(-2, 3))
    elif way == 'nudge' and isinstance(holder[key], str):
        holder[key] += 'x'
    else:
        holder[key] = deepcopy(VALUES[int(generator.integers(0, len(VALUES)))])


def _places(plain: Any) -> Iterator[tuple[Any, Any]]:
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
