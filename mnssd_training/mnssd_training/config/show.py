"""An experiment to YAML that says beside each key who set it."""

from collections.abc import Iterator, Mapping
import json
import re
from typing import Any

from mnssd_training.config.experiment import Experiment
from mnssd_training.config.tree import DEFAULT, find, Node
from mnssd_training.config.yaml_text import to_scalar
from pydantic_core import to_jsonable_python

WORD = re.compile(r'[A-Za-z0-9_./~][A-Za-z0-9_./~+-]*\Z')  # what YAML takes unquoted anywhere
COLUMN = 44  # where the comments begin

Path = tuple[str | int, ...]


def draw(experiment: Experiment, tree: Node) -> str:
    """
    Write an experiment whole.

    :param experiment: what the keys came to be.
    :param tree: the keys that it was made of.
    :return: YAML that loads as the same experiment, with a comment on each key that says who set
        it: a file and its line, the command line, the environment, or the default.
    """
    rows = (
        f'{row:<{COLUMN}}  # {origin}' if origin else row
        for row, origin in _rows(to_jsonable_python(experiment), tree, ())
    )
    return ''.join(f'{row}\n' for row in rows)


def origins(experiment: Experiment, tree: Node) -> dict[str, str]:
    """List who set each key, by its dotted path."""
    return {
        '.'.join(map(str, path)): _origin(tree, path)
        for path, _ in _leaves(to_jsonable_python(experiment), ())
    }


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Go through all values that hold no keys."""
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _leaves(child, (*path, key))
    elif _holds_sections(value):
        for place, child in enumerate(value):
            yield from _leaves(child, (*path, place))
    else:
        yield path, value


def _rows(value: Mapping[str, Any], tree: Node, path: Path) -> Iterator[tuple[str, str]]:
    """Go through the lines of a dict, with who set them."""
    indent = '  ' * len(path)
    for key, child in value.items():
        inner = (*path, key)
        row = f'{indent}{_word(key)}:'
        if isinstance(child, Mapping) and child:
            yield row, ''
            yield from _rows(child, tree, inner)
        elif _holds_sections(child):
            yield row, ''
            for place, item in enumerate(child):
                dash = f'{indent}  - '
                for text, origin in _rows(item, tree, (*inner, place)):
                    yield dash + text[len(dash) :], origin
                    dash = ' ' * len(dash)
        else:
            yield f'{row} {one_line(child)}', _origin(tree, inner)


def _holds_sections(value: Any) -> bool:
    """Tell a list of dicts from a list of scalars."""
    return isinstance(value, list) and any(isinstance(item, Mapping) for item in value)


def _origin(tree: Node, path: Path) -> str:
    """Say who set a key; what no file mentions in a list of sections is a default too."""
    above = find(tree, path[:-1])
    if isinstance(above.value, Mapping) and path[-1] not in above.value:
        return DEFAULT
    return find(tree, path).origin


def one_line(value: Any) -> str:
    """
    Write a value in one line of YAML.

    :param value: a scalar, or a list or dict of them.
    :return: text that reads as this value, also where variables are put in.
    """
    if isinstance(value, Mapping):
        return f'{{{", ".join(f"{_word(key)}: {one_line(item)}" for key, item in value.items())}}}'
    if isinstance(value, list):
        return f'[{", ".join(map(one_line, value))}]'
    if isinstance(value, str):
        return _word(value.replace('${', '$${'))
    return json.dumps(value)


def _word(text: str) -> str:
    """Write a key or a text, in quotes where it would read as something else."""
    if WORD.match(text) and isinstance(to_scalar(text), str):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return ''.join(char if char.isprintable() else f'\\U{ord(char):08x}' for char in quoted)
