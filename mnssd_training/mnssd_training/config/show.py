"""Format an experiment as YAML that says beside each key who set it."""

from collections.abc import Iterator, Mapping
import json
import re
from typing import Any

from mnssd_training.config.experiment import Experiment
from mnssd_training.config.sections import Section
from mnssd_training.config.yaml_tree import DEFAULT, dotted, find, Node, Path, to_scalar
from pydantic_core import to_jsonable_python

WORD = re.compile(r'[A-Za-z0-9_./~][A-Za-z0-9_./~+-]*')  # needs no quotes anywhere in YAML
COLUMN = 44  # of the comments


def format_experiment(experiment: Experiment) -> str:
    """Format an experiment as YAML that loads as the same one, with origins as comments."""
    return format_section(experiment, experiment._tree)


def format_section(section: Section, tree: Node) -> str:
    """Format a section as YAML with the origins of its keys in a tree, see `format_experiment`."""
    rows = _rows(to_jsonable_python(section), tree, ())
    return ''.join(
        f'{row:<{COLUMN}}  # {origin}\n' if origin else f'{row}\n' for _, row, origin in rows
    )


def find_origins(experiment: Experiment) -> dict[str, str]:
    """Return the origin of each key by its dotted path."""
    rows = _rows(to_jsonable_python(experiment), experiment._tree, ())
    return {dotted(path): origin for path, _, origin in rows if origin}


def _rows(keys: Mapping[str, Any], tree: Node, path: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield (path of the key, line of YAML, origin); the origin of a section is empty."""
    indent = '  ' * len(path)
    for key, value in keys.items():
        inner = (*path, key)
        row = f'{indent}{_quote(key)}:'
        if isinstance(value, Mapping) and value:
            yield inner, row, ''
            yield from _rows(value, tree, inner)
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            yield inner, row, ''
            for index, item in enumerate(value):
                dash = f'{indent}  - '
                for item_path, text, origin in _rows(item, tree, (*inner, index)):
                    yield item_path, dash + text[len(dash) :], origin
                    dash = ' ' * len(dash)
        else:
            yield inner, f'{row} {format_flow(value)}', _origin(tree, inner)


def _origin(tree: Node, path: Path) -> str:
    parent = find(tree, path[:-1])
    if isinstance(parent.value, Mapping) and path[-1] not in parent.value:
        return DEFAULT  # a key that no file mentions, of an item of a list
    return find(tree, path).origin


def format_flow(value: Any) -> str:
    """Format a value as one line of YAML, which is also safe where variables are inserted."""
    if isinstance(value, Mapping):
        keys = (f'{_quote(key)}: {format_flow(item)}' for key, item in value.items())
        return f'{{{", ".join(keys)}}}'
    if isinstance(value, list):
        return f'[{", ".join(map(format_flow, value))}]'
    if isinstance(value, str):
        return _quote(value.replace('${', '$${'))
    return json.dumps(value)


def _quote(text: str) -> str:
    """Quote a string where YAML would read something else."""
    if WORD.fullmatch(text) and isinstance(to_scalar(text), str):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return ''.join(char if char.isprintable() else f'\\U{ord(char):08x}' for char in quoted)
