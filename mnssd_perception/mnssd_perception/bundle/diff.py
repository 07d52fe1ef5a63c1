"""Compare two manifests, key by key."""

from collections.abc import Iterator
import json
from typing import Any

from mnssd_perception.bundle.manifest import Manifest, manifest_to_plain
from mnssd_perception.text import sanitize_text

MAX_VALUE = 80  # characters of a value that is shown; a digest has 73


def diff_manifests(first: Manifest, second: Manifest) -> list[str]:
    """
    List what differs between two manifests, one line for each key.

    Artefacts are paired by engine, precision and batch dimension; files and golden frames by path.

    :return: lines of ``key: value of the first -> value of the second``, or ``key: only in the
        first``; empty for equal manifests.
    """
    return list(_differences(_by_key(first), _by_key(second)))


def _by_key(manifest: Manifest) -> dict[str, Any]:
    """Convert a manifest to nested dicts; lists of objects become dicts by what names them."""
    plain = manifest_to_plain(manifest)
    for key in ('files', 'golden'):
        plain[key] = {f'[{item["path"]}]': item for item in plain[key]}
    artefacts: dict[str, Any] = {}
    for item in plain['artefacts']:
        batch = ', batch' if item.get('has_batch') else ''
        name = f'{item["engine"]} {item["precision"]}{batch}'
        while f'[{name}]' in artefacts:  # in schema 1
            name += "'"
        artefacts[f'[{name}]'] = item
    plain['artefacts'] = artefacts
    return plain


def _differences(first: Any, second: Any, path: str = '') -> Iterator[str]:
    # == takes True for 1 and 1 for 1.0
    if isinstance(first, dict) and isinstance(second, dict):
        for key in {**first, **second}:
            dot = '.' if path and not key.startswith('[') else ''
            key_path = f'{path}{dot}{key}'
            if key not in second:
                yield f'{sanitize_text(key_path)}: only in the first'
            elif key not in first:
                yield f'{sanitize_text(key_path)}: only in the second'
            else:
                yield from _differences(first[key], second[key], key_path)
    elif json.dumps(first) != json.dumps(second):
        values = (sanitize_text(json.dumps(value), MAX_VALUE) for value in (first, second))
        yield f'{sanitize_text(path)}: {" -> ".join(values)}'
