"""
YAML documents as nested nodes that remember where each value was set.

Scalars follow the core schema of YAML 1.2 (section 10.3.2): 1e-3 is a number, ``no`` is a string
and a date is a string. Keys are always strings. Tags are refused.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
import re
from typing import Any, ClassVar, TypeAlias

from mnssd_training.errors import ConfigError
import yaml

DEFAULT = 'default'  # origin of values that nobody has set
MAX_DEPTH = 20  # nested keys
MAX_VALUES = 10_000  # in a document: aliases of aliases grow exponentially
MAX_DIGITS = 18  # fits 64 bits; longer numbers are strings
TAGS = {f'tag:yaml.org,2002:{name}' for name in ('map', 'seq', 'str')}

CONSTANTS = {
    **dict.fromkeys(('', '~', 'null', 'Null', 'NULL')),
    **dict.fromkeys(('true', 'True', 'TRUE'), True),
    **dict.fromkeys(('false', 'False', 'FALSE'), False),
}
INTEGER = re.compile(r'[-+]?[0-9]+')
FLOAT = re.compile(r'[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?')
NOT_FINITE = re.compile(r'[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)')

Scalar: TypeAlias = str | int | float | bool | None
Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True)
class Node:
    """
    A value with its origin.

    :ivar value: a scalar, a dict of nodes or a tuple of nodes.
    :ivar origin: where it was set: ``own.yaml:7``, ``command line``, ``default``.
    :ivar text: an unquoted scalar as it was written; None for everything else.
    :ivar reference: the text before environment variables were inserted; None without any.
    """

    value: 'Mapping[str, Node] | Sequence[Node] | Scalar'
    origin: str
    text: str | None = None
    reference: str | None = None


class _Loader(yaml.SafeLoader):
    """PyYAML without the YAML 1.1 rules for plain scalars: each of them is a string."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}


def has_surrogates(text: str) -> bool:
    """Check for undecodable bytes, which Python keeps as surrogates in command-line arguments."""
    return any('\ud800' <= char <= '\udfff' for char in text)


def to_scalar(text: str) -> Scalar:
    """Convert a plain scalar; one that is not a number, a boolean or null is a string."""
    if text in CONSTANTS:
        return CONSTANTS[text]
    if INTEGER.fullmatch(text):
        return int(text) if len(text) <= MAX_DIGITS else text
    if FLOAT.fullmatch(text):
        return float(text)
    return float(text.replace('.', '')) if NOT_FINITE.fullmatch(text) else text


def read_yaml(text: str, source: str, *, lines: bool = True) -> Node:
    """
    Parse one YAML document; an empty one is null.

    :param source: name of the document in origins and errors.
    :param lines: add line numbers to the origins.
    :raises ConfigError: naming source, line and key.
    """
    reader = _Reader(source, lines)
    try:
        document = yaml.compose(text, _Loader)
        return reader.convert(document, ()) if document else Node(None, source, '')
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        origin = reader.origin(mark) if mark else source
        raise ConfigError(f'{origin}: not YAML: {error.problem or error.context}') from error
    except yaml.YAMLError as error:
        raise ConfigError(f'{source}: not YAML: {" ".join(str(error).split())}') from error
    except RecursionError as error:
        raise ConfigError(f'{source}: expected at most {MAX_DEPTH} nested keys') from error


class _Reader:
    """Converts PyYAML's nodes, and counts them."""

    def __init__(self, source: str, lines: bool) -> None:
        self._source = source
        self._lines = lines
        self._num_values = 0
        self._ancestors: list[yaml.Node] = []

    def origin(self, mark: yaml.Mark) -> str:
        return f'{self._source}:{mark.line + 1}' if self._lines else self._source

    def convert(self, node: yaml.Node, path: Path, mark: yaml.Mark | None = None) -> Node:
        """Convert a node; ``mark`` is the position of its key."""
        origin = self.origin(mark or node.start_mark)
        self._check(node, origin, path)
        if isinstance(node, yaml.ScalarNode):
            if node.style is not None:
                return Node(node.value, origin)
            return Node(to_scalar(node.value), origin, node.value)
        self._ancestors.append(node)
        value: dict[str, Node] | tuple[Node, ...]
        if isinstance(node, yaml.SequenceNode):
            value = tuple(self.convert(item, (*path, i)) for i, item in enumerate(node.value))
        else:
            value = self._convert_mapping(node, path)
        self._ancestors.pop()
        return Node(value, origin)

    def _convert_mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Node]:
        children: dict[str, Node] = {}
        for key, value in node.value:
            origin = self.origin(key.start_mark)
            if not isinstance(key, yaml.ScalarNode):
                raise _error(origin, path, 'expected a string as key, got a list or a mapping')
            self._check(key, origin, path)
            inner = (*path, key.value)
            if key.value in children:
                first = children[key.value].origin
                raise _error(origin, inner, f'duplicate key, first at {first}')
            children[key.value] = self.convert(value, inner, key.start_mark)
        return children

    def _check(self, node: yaml.Node, origin: str, path: Path) -> None:
        """Refuse too many values, recursive aliases and everything but plain data."""
        self._num_values += 1
        if self._num_values > MAX_VALUES:
            raise _error(origin, path, f'expected at most {MAX_VALUES} values in a file')
        if len(self._ancestors) > MAX_DEPTH:
            raise _error(origin, path[:-1], f'expected at most {MAX_DEPTH} nested keys')
        if any(node is ancestor for ancestor in self._ancestors):
            raise _error(origin, path, 'this alias contains itself')
        if node.tag not in TAGS:
            tag = node.tag.replace('tag:yaml.org,2002:', '!!')
            raise _error(origin, path, f'expected plain data without tags, got {tag!r}')
        if isinstance(node, yaml.ScalarNode) and has_surrogates(node.value):
            raise _error(origin, path, 'expected text in UTF-8')


def _error(origin: str, path: Path, reason: str) -> ConfigError:
    return ConfigError(': '.join(part for part in (origin, dotted(path), reason) if part))


def dotted(path: Sequence[str | int]) -> str:
    """Format the path of a key as ``section.key.0``."""
    return '.'.join(map(str, path))


def from_plain(plain: Any, origin: str) -> Node:
    """Convert dicts, lists and scalars to nodes of one origin."""
    if isinstance(plain, Mapping):
        return Node({str(key): from_plain(item, origin) for key, item in plain.items()}, origin)
    if isinstance(plain, list | tuple):
        return Node(tuple(from_plain(item, origin) for item in plain), origin)
    return Node(plain, origin)


def to_plain(node: Node, texts: Container[Path] = (), path: Path = ()) -> Any:
    """Convert nodes to dicts, lists and scalars; those with a path in ``texts`` to their text."""
    if isinstance(node.value, Mapping):
        children = node.value.items()
        return {key: to_plain(child, texts, (*path, key)) for key, child in children}
    if isinstance(node.value, tuple):
        return [to_plain(item, texts, (*path, i)) for i, item in enumerate(node.value)]
    return node.text if path in texts else node.value


def merge(base: Node, override: Node, path: Path = ()) -> Node:
    """
    Merge two nodes: mappings key by key; everything else is replaced.

    A mapping of indices changes items of a list; the index one past its end appends to it.

    :raises ConfigError: if an index is beyond the end of a list.
    """
    if not isinstance(override.value, Mapping):
        return override
    keys = override.value
    if isinstance(base.value, tuple) and keys and all(map(str.isdecimal, keys)):
        items = list(base.value)
        for key, child in keys.items():
            if key not in map(str, range(len(items) + 1)):
                expected = f'expected an index from 0 to {len(items)} of this list'
                raise _error(override.origin, path, f'{expected}, got {key!r}')
            index = int(key)
            old = items[index : index + 1]
            items[index : index + 1] = [merge(old[0], child, (*path, index)) if old else child]
        return Node(tuple(items), override.origin)
    if not isinstance(base.value, Mapping):
        return override
    merged = dict(base.value)
    for key, child in keys.items():
        merged[key] = merge(merged[key], child, (*path, key)) if key in merged else child
    return Node(merged, override.origin)


def children(node: Node) -> Mapping[str, Node]:
    """Return the keys of a mapping; other nodes have none."""
    return node.value if isinstance(node.value, Mapping) else {}


def find(node: Node, path: Sequence[str | int]) -> Node:
    """Follow a path as far as it exists."""
    for step in path:
        if isinstance(node.value, Mapping) and step in node.value:
            node = node.value[str(step)]
        elif isinstance(node.value, tuple) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
        else:
            break
    return node
