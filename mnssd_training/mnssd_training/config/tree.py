"""Nested keys that remember where each was set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from mnssd_training.errors import ConfigError

DEFAULT = 'default'  # the origin of what nobody has set
MAX_DEPTH = 20  # of keys; a mistake or an attack beyond

Value: TypeAlias = 'Mapping[str, Node] | Sequence[Node] | str | int | float | bool | None'


@dataclass(frozen=True)
class Node:
    """
    A value, or the values below it, and where it was set.

    :ivar value: a scalar, a dict or a tuple of nodes.
    :ivar origin: where it was set, for people: ``own.yaml:7``, ``command line``, ``default``.
    :ivar text: an unquoted scalar as it was written; None for everything else.
    :ivar reference: the text before environment variables were put in; None where there were none.
    """

    value: Value
    origin: str
    text: str | None = None
    reference: str | None = None


def from_plain(plain: Any, origin: str) -> Node:
    """Turn dicts, lists and scalars into nodes of one origin."""
    if isinstance(plain, Mapping):
        return Node({str(key): from_plain(item, origin) for key, item in plain.items()}, origin)
    if isinstance(plain, (list, tuple)):
        return Node(tuple(from_plain(item, origin) for item in plain), origin)
    return Node(plain, origin)


def to_plain(node: Node) -> Any:
    """Turn nodes into dicts, lists and scalars."""
    if isinstance(node.value, Mapping):
        return {key: to_plain(child) for key, child in node.value.items()}
    if isinstance(node.value, tuple):
        return [to_plain(child) for child in node.value]
    return node.value


def merge(below: Node, above: Node) -> Node:
    """Lay one node over another: dicts are merged key by key, everything else is replaced."""
    if not (isinstance(below.value, Mapping) and isinstance(above.value, Mapping)):
        return above
    merged = dict(below.value)
    for key, child in above.value.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    return Node(merged, above.origin)


def find(node: Node, path: Sequence[str | int]) -> Node:
    """Follow a path as far as it goes."""
    for step in path:
        if isinstance(node.value, Mapping) and step in node.value:
            node = node.value[str(step)]
        elif isinstance(node.value, tuple) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
        else:
            break
    return node


def put(node: Node, path: Sequence[str], new: Node, done: Sequence[str] = ()) -> Node:
    """
    Lay a value over what stands at a path.

    :param node: the root.
    :param path: keys, and places in lists, from the root to the value; one place beyond the end
        of a list makes it longer.
    :param new: what to lay there.
    :param done: the path of ``node`` itself, for messages.
    :return: the changed root.
    :raises ConfigError: if the path leads through a scalar or past the end of a list.
    """
    if not path:
        return merge(node, new)
    step, rest = path[0], path[1:]
    here = '.'.join(done)
    empty = Node({}, new.origin)
    if isinstance(node.value, Mapping):
        child = put(node.value.get(step, empty), rest, new, (*done, step))
        # The root stays with its file, which is who lacks a key that is missing.
        return Node({**node.value, step: child}, new.origin if done else node.origin)
    if isinstance(node.value, tuple):
        num = len(node.value)
        if not step.isdecimal() or not step.isascii() or len(step) > 9 or int(step) > num:
            raise ConfigError(
                f'{new.origin}: {here}: expected a place from 0 to {num} in this list, '
                f'got {step!r}'
            )
        children = [*node.value, empty] if int(step) == num else [*node.value]
        children[int(step)] = put(children[int(step)], rest, new, (*done, step))
        return Node(tuple(children), new.origin)
    raise ConfigError(
        f'{new.origin}: {".".join((*done, *path))}: there is no such key, {here} is a value'
    )
