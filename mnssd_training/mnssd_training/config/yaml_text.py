"""
YAML text to nested keys with their lines.

Scalars are read by the core schema of YAML 1.2 (section 10.3.2): 1e-3 is a number, ``no`` is a
word and a date is text. Keys are always text. Tags are refused, and nothing is executed.
"""

import re
from typing import ClassVar

from mnssd_training.config.tree import MAX_DEPTH, Node
from mnssd_training.errors import ConfigError
import yaml

MAX_VALUES = 10_000  # in a file; aliases of aliases grow without end
MAX_DIGITS = 18  # what fits 64 bits whatever the digits; longer numbers are text
TAGS = {f'tag:yaml.org,2002:{name}' for name in ('map', 'seq', 'str')}

NULL = re.compile(r'(null|Null|NULL|~|)\Z')
TRUE = re.compile(r'(true|True|TRUE)\Z')
FALSE = re.compile(r'(false|False|FALSE)\Z')
INTEGER = re.compile(r'[-+]?[0-9]+\Z')
FLOAT = re.compile(r'[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z')
NOT_FINITE = re.compile(r'([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z')


class _Loader(yaml.SafeLoader):
    """PyYAML, which is YAML 1.1, without its idea of what a plain scalar may be."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}


def is_text(text: str) -> bool:
    """Tell text from bytes that Python takes for text, as of a command line."""
    return not any('\ud800' <= char <= '\udfff' for char in text)


def to_scalar(text: str) -> str | int | float | bool | None:
    """Read an unquoted scalar; one that is no number, truth value or null is text."""
    if NULL.match(text):
        return None
    if TRUE.match(text) or FALSE.match(text):
        return bool(TRUE.match(text))
    if INTEGER.match(text):
        return int(text) if len(text) <= MAX_DIGITS else text
    if FLOAT.match(text):
        return float(text)
    if NOT_FINITE.match(text):
        return float(text.replace('.', ''))
    return text


def read_yaml(text: str, source: str, *, lines: bool = True) -> Node:
    """
    Read one YAML document.

    :param text: the document.
    :param source: where it comes from, for people.
    :param lines: whether its lines are told too.
    :return: its keys; null for an empty document.
    :raises ConfigError: naming source, line and key.
    """
    reader = _Reader(source, lines)
    try:
        loader = _Loader(text)
        try:
            document = loader.get_single_node()
        finally:
            loader.dispose()
        return reader.node(document) if document else Node(None, source, '')
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        origin = reader.origin(mark.line + 1) if mark else source
        raise ConfigError(f'{origin}: not YAML: {error.problem or error.context}') from error
    except yaml.YAMLError as error:
        raise ConfigError(f'{source}: not YAML: {" ".join(str(error).split())}') from error
    except RecursionError as error:
        raise ConfigError(f'{source}: expected at most {MAX_DEPTH} keys in each other') from error


class _Reader:
    """PyYAML's nodes to ours; counts them, and knows which it is inside of."""

    def __init__(self, source: str, lines: bool) -> None:
        self._source = source
        self._lines = lines
        self._num = 0
        self._inside: list[tuple[str, int]] = []

    def origin(self, line: int) -> str:
        """Say where a line is."""
        return f'{self._source}:{line}' if self._lines else self._source

    def node(self, node: yaml.Node, key: str = '', line: int = 0) -> Node:
        """Turn a node, with what it holds."""
        origin = self.origin(line or node.start_mark.line + 1)
        self._check(node, key, origin)
        if isinstance(node, yaml.ScalarNode):
            if node.style is not None:
                return Node(node.value, origin)
            return Node(to_scalar(node.value), origin, node.value)
        self._inside.append((key, id(node)))
        try:
            if isinstance(node, yaml.SequenceNode):
                return Node(
                    tuple(self.node(item, str(i)) for i, item in enumerate(node.value)), origin
                )
            return Node(self._mapping(node), origin)
        finally:
            self._inside.pop()

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Node]:
        """Turn a mapping; a key that stands twice is an error."""
        found: dict[str, Node] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise self._wrong(
                    self.origin(line), '', 'expected a word as key, got a list or a dict'
                )
            self._check(key, '', self.origin(line))
            if key.value in found:
                first = found[key.value].origin
                raise self._wrong(
                    self.origin(line), key.value, f'this key is here twice, first at {first}'
                )
            found[key.value] = self.node(value, key.value, line)
        return found

    def _check(self, node: yaml.Node, key: str, origin: str) -> None:
        """Refuse what is too much, endless, or not plain data."""
        self._num += 1
        if self._num > MAX_VALUES:
            raise self._wrong(origin, key, f'expected at most {MAX_VALUES} values in a file')
        if len(self._inside) > MAX_DEPTH:
            raise self._wrong(origin, '', f'expected at most {MAX_DEPTH} keys in each other')
        if id(node) in (inside for _, inside in self._inside):
            raise self._wrong(origin, key, 'this alias holds itself')
        if node.tag not in TAGS:
            tag = node.tag.replace('tag:yaml.org,2002:', '!!')
            raise self._wrong(origin, key, f'expected plain data without tags, got {tag!r}')
        if isinstance(node, yaml.ScalarNode) and not is_text(node.value):
            raise self._wrong(origin, key, 'expected text in UTF-8')

    def _wrong(self, origin: str, key: str, reason: str) -> ConfigError:
        """Word an error with the key that it is about."""
        path = '.'.join(part for part in (*(name for name, _ in self._inside), key) if part)
        return ConfigError(': '.join(part for part in (origin, path, reason) if part))
