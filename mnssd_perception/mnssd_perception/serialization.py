"""
Convert frozen dataclasses to plain JSON data and back, strictly.

Unknown, missing and wrongly typed keys are errors that name the key, so that a manifest or a
checkpoint that somebody edited fails with a clear message and not somewhere later.
"""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, MISSING
import types
from typing import Any, get_args, get_origin, get_type_hints, Literal, TypeVar, Union

from mnssd_perception.errors import MnssdError

T = TypeVar('T')
MakeError = Callable[[str], MnssdError]


def to_plain(value: Any) -> Any:
    """Convert a dataclass, with what it holds, to dicts, lists and scalars for JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    return value


def from_plain(cls: type[T], plain: Any, error: MakeError, path: str = '') -> T:
    """
    Build a dataclass from plain data, as :func:`to_plain` makes it.

    :param error: makes the error to raise from a message.
    :param path: key of ``plain`` in what holds it, for messages.
    :return: the dataclass, which validates its values.
    :raises MnssdError: what ``error`` makes, naming the key.
    """
    where = path or 'the top level'
    if not isinstance(plain, dict):
        raise error(f'expected an object at {where}, got {_shorten(plain)}')
    hints = get_type_hints(cls)
    class_fields = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(str(key) for key in set(plain) - set(class_fields)):
        supported = ', '.join(class_fields)
        raise error(f'unknown key {unknown[0]!r} at {where}; supported are {supported}')
    values = {}
    for key, field in class_fields.items():
        key_path = f'{path}.{key}' if path else key
        if key in plain:
            values[key] = _convert(hints[key], plain[key], error, key_path)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise error(f'missing key {key_path!r}')
    return cls(**values)


def _convert(hint: Any, plain: Any, error: MakeError, path: str) -> Any:
    """Convert one value to the type of a field."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return from_plain(hint, plain, error, path)  # type: ignore[arg-type]
    if origin is Literal:
        if plain not in arguments:
            raise error(f'expected one of {arguments} at {path}, got {_shorten(plain)}')
        return plain
    if origin is tuple:
        if not isinstance(plain, (list, tuple)):
            raise error(f'expected a list at {path}, got {_shorten(plain)}')
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(plain)
        elif len(arguments) != len(plain):
            raise error(f'expected {len(arguments)} values at {path}, got {len(plain)}')
        return tuple(
            _convert(item_hint, item, error, f'{path}[{index}]')
            for index, (item_hint, item) in enumerate(zip(arguments, plain))
        )
    if origin is dict:
        if not isinstance(plain, dict) or not all(isinstance(key, str) for key in plain):
            raise error(f'expected an object at {path}, got {_shorten(plain)}')
        return {
            key: _convert(arguments[1], item, error, f'{path}.{key}')
            for key, item in plain.items()
        }
    if origin in (Union, types.UnionType):
        if plain is None and type(None) in arguments:
            return None
        (hint,) = (argument for argument in arguments if argument is not type(None))
        return _convert(hint, plain, error, path)
    return _convert_scalar(hint, plain, error, path)


def _convert_scalar(hint: Any, plain: Any, error: MakeError, path: str) -> Any:
    """Check a scalar; an integer is accepted as a float, a bool is not a number."""
    if hint is Any:
        return plain
    if hint is float and isinstance(plain, int) and not isinstance(plain, bool):
        try:
            return float(plain)
        except OverflowError as problem:
            raise error(f'expected a smaller number at {path}, got {_shorten(plain)}') from problem
    if not isinstance(plain, hint) or (isinstance(plain, bool) and hint is not bool):
        raise error(f'expected {hint.__name__} at {path}, got {_shorten(plain)}')
    return plain


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
