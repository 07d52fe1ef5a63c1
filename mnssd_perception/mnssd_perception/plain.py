"""
Frozen dataclasses to plain JSON data and back, strictly.

Unknown, missing and wrongly typed keys are errors that name the key, so that a manifest or a
checkpoint that somebody edited fails with a sentence and not somewhere later.
"""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, MISSING
import types
from typing import Any, get_args, get_origin, get_type_hints, Literal, TypeVar, Union

from mnssd_perception.errors import MnssdError

T = TypeVar('T')


def to_plain(value: Any) -> Any:
    """
    Turn a dataclass, with what it holds, into dicts, lists and scalars.

    :param value: a dataclass instance, tuple, list, dict or scalar.
    :return: data that :func:`json.dumps` accepts.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    return value


def from_plain(
    kind: type[T], plain: Any, error: Callable[[str], MnssdError], where: str = ''
) -> T:
    """
    Build a dataclass from plain data.

    :param kind: the dataclass.
    :param plain: a dict of its fields, as :func:`to_plain` makes it.
    :param error: makes the error to raise from a sentence.
    :param where: the key under which ``plain`` stood, for messages.
    :return: the dataclass, which validates its own values.
    :raises MnssdError: what ``error`` makes, naming the key.
    """
    name = where or 'the top level'
    if not isinstance(plain, dict):
        raise error(f'expected an object at {name}, got {_shown(plain)}')
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(str(key) for key in set(plain) - set(known))
    if unknown:
        raise error(f'unknown key {unknown[0]!r} at {name}; known are {", ".join(known)}')
    values = {}
    for key, field in known.items():
        path = f'{where}.{key}' if where else key
        if key in plain:
            values[key] = _convert(hints[key], plain[key], error, path)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise error(f'missing key {path!r}')
    return kind(**values)


def _convert(hint: Any, plain: Any, error: Callable[[str], MnssdError], where: str) -> Any:
    """Convert one value to the type that a field declares."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return from_plain(hint, plain, error, where)  # type: ignore[arg-type]
    if origin is Literal:
        if plain not in arguments:
            raise error(f'expected one of {arguments} at {where}, got {_shown(plain)}')
        return plain
    if origin is tuple:
        return _convert_tuple(arguments, plain, error, where)
    if origin is dict:
        if not isinstance(plain, dict) or not all(isinstance(key, str) for key in plain):
            raise error(f'expected an object at {where}, got {_shown(plain)}')
        return {
            key: _convert(arguments[1], item, error, f'{where}.{key}')
            for key, item in plain.items()
        }
    if origin in (Union, types.UnionType):
        if plain is None and type(None) in arguments:
            return None
        (hint,) = (kind for kind in arguments if kind is not type(None))
        return _convert(hint, plain, error, where)
    return _convert_scalar(hint, plain, error, where)


def _convert_tuple(
    arguments: tuple[Any, ...], plain: Any, error: Callable[[str], MnssdError], where: str
) -> tuple[Any, ...]:
    """Convert a list to a tuple, of a fixed length where the field declares one."""
    if not isinstance(plain, (list, tuple)):
        raise error(f'expected a list at {where}, got {_shown(plain)}')
    if arguments[-1] is Ellipsis:
        arguments = (arguments[0],) * len(plain)
    elif len(arguments) != len(plain):
        raise error(f'expected {len(arguments)} values at {where}, got {len(plain)}')
    return tuple(
        _convert(hint, item, error, f'{where}[{index}]')
        for index, (hint, item) in enumerate(zip(arguments, plain))
    )


def _convert_scalar(hint: Any, plain: Any, error: Callable[[str], MnssdError], where: str) -> Any:
    """Check a scalar; a whole number is welcome where a float is declared, a bool is not."""
    if hint is Any:
        return plain
    if hint is float and isinstance(plain, int) and not isinstance(plain, bool):
        try:
            return float(plain)
        except OverflowError as problem:
            raise error(f'expected a smaller number at {where}, got {_shown(plain)}') from problem
    if not isinstance(plain, hint) or (isinstance(plain, bool) and hint is not bool):
        raise error(f'expected {hint.__name__} at {where}, got {_shown(plain)}')
    return plain


def _shown(value: Any) -> str:
    """Show a value in a message, shortened."""
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
