"""Declare the parameters of a node from a frozen dataclass, and validate them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, field, fields, replace
import math
from typing import Any, Generic, TypeVar

from mnssd_perception.errors import MnssdError, SettingsError
from mnssd_perception.text import did_you_mean, sanitize_text
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

T = TypeVar('T')
QOS_OVERRIDES = 'qos_overrides.'  # rclpy declares these when it creates a topic


def parameter(
    default: Any,
    description: str,
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    choices: Sequence[str] = (),
    is_dynamic: bool = False,
) -> Any:
    """
    Describe a parameter, as the default of a dataclass field.

    :param default: bool, int, float, str, or a tuple of str.
    :param maximum: must be given whenever ``minimum`` is.
    :param is_dynamic: whether it can change at runtime; otherwise it is read-only.
    """
    limits = None if minimum is None else (minimum, maximum)
    metadata = {'description': description, 'range': limits, 'choices': tuple(choices)}
    return field(default=default, metadata={**metadata, 'is_dynamic': is_dynamic})


def given_overrides(node: Node) -> Mapping[str, Parameter]:
    """Return the parameter values given at startup, for which rclpy has no public method."""
    return node._parameter_overrides


class Parameters(Generic[T]):
    """
    The current parameters of a node.

    :param parameters_type: a frozen dataclass with a :func:`parameter` for each field.
    :param check: raises :class:`MnssdError` for values that a range cannot exclude; must have no
        side effect.
    :param apply: is called with the new values after a change.
    :param known_names: parameters of other nodes that share a section of a parameter file.
    :raises SettingsError: when a value given at startup is invalid, or a name is unknown.
    """

    def __init__(
        self,
        node: Node,
        parameters_type: type[T],
        check: Callable[[T], object] = lambda values: None,
        apply: Callable[[T], None] = lambda values: None,
        known_names: Iterable[str] = (),
    ) -> None:
        self._node = node
        entries = fields(parameters_type)  # type: ignore[arg-type]
        self._fields: dict[str, Field] = {entry.name: entry for entry in entries}
        self._check, self._apply = check, apply
        overrides = given_overrides(node)
        _check_names(node, overrides, {*self._fields, *known_names})
        self._user_set = set(overrides) & set(self._fields)
        self._sets_defaults = False
        self.values: T = parameters_type()
        self.values = self._changed(
            [_declare(node, entry, overrides) for entry in self._fields.values()]
        )
        node.add_on_set_parameters_callback(self._validate)
        # Humble has no callback after a change, so the change is applied while validating.
        self._has_post_set = hasattr(node, 'add_post_set_parameters_callback')
        if self._has_post_set:
            node.add_post_set_parameters_callback(self._update)

    def replace_check(self, check: Callable[[T], object]) -> None:
        """Apply a stricter check, which may raise, to the current values and all later ones."""
        check(self.values)
        self._check = check

    def set_defaults(self, **defaults: Any) -> None:
        """Set those parameters that no user has set, or raise SettingsError."""
        unset = [name for name in defaults if name not in self._user_set]
        changes = [Parameter(name, value=defaults[name]) for name in unset]
        self._sets_defaults = True
        try:
            result = self._node.set_parameters_atomically(changes)
        finally:
            self._sets_defaults = False
        if not result.successful:
            raise SettingsError(result.reason)

    def _validate(self, parameters: list[Parameter]) -> SetParametersResult:
        try:
            self._changed(parameters)
        except MnssdError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if not self._has_post_set:
            self._update(parameters)
        return SetParametersResult(successful=True)

    def _update(self, parameters: list[Parameter]) -> None:
        values = self._changed(parameters)
        if not self._sets_defaults:
            self._user_set |= {entry.name for entry in parameters}
        if values != self.values:
            self.values = values
            self._apply(values)

    def _changed(self, parameters: list[Parameter]) -> T:
        changes = {
            entry.name: _validated(self._fields[entry.name], entry.value)
            for entry in parameters
            if entry.name in self._fields
        }
        values = replace(self.values, **changes)  # type: ignore[type-var]
        self._check(values)
        return values


def _check_names(node: Node, names: Iterable[str], known: set[str]) -> None:
    """Refuse an unknown name, which is most likely misspelled; rclpy would ignore it."""
    for name in names:
        if name in known or name.startswith(QOS_OVERRIDES) or node.has_parameter(name):
            continue
        hint = did_you_mean(name, sorted(known))
        raise SettingsError(f"unknown parameter '{sanitize_text(name)}'; {hint}")


def _declare(node: Node, entry: Field, overrides: Mapping[str, Parameter]) -> Parameter:
    limits, is_list = entry.metadata['range'], isinstance(entry.default, tuple)
    descriptor = ParameterDescriptor(
        description=entry.metadata['description'],
        additional_constraints=', '.join(entry.metadata['choices']),
        read_only=not entry.metadata['is_dynamic'],
        # ROS has no type for an empty list, so _validated() checks the type of lists.
        dynamic_typing=is_list,
    )
    if limits and isinstance(entry.default, float):
        low, high = map(float, limits)
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif limits:
        descriptor.integer_range = [IntegerRange(from_value=limits[0], to_value=limits[1])]
    # A list with one empty string represents the empty list; `[]` in a parameter file makes a
    # parameter that is not set.
    default: Any = entry.default
    is_empty = False
    if is_list:
        override = overrides.get(entry.name)
        is_empty = override is not None and override.type_ is Parameter.Type.NOT_SET
        default = [''] if is_empty else list(default) or ['']
    try:
        return node.declare_parameter(entry.name, default, descriptor, ignore_override=is_empty)
    except InvalidParameterTypeException as error:
        type_name = type(entry.default).__name__
        hint = '; write 1.0 instead of 1' if type_name == 'float' else ''
        raise SettingsError(f'expected {entry.name} to be of type {type_name}{hint}') from error
    except InvalidParameterValueException as error:
        raise SettingsError(f'{entry.name}: {error}') from error


def _validated(entry: Field, value: Any) -> Any:
    name, default = entry.name, entry.default
    limits, choices = entry.metadata['range'], entry.metadata['choices']
    if isinstance(default, tuple):
        is_sequence = isinstance(value, (list, tuple))
        if is_sequence and all(isinstance(item, str) for item in value):
            return tuple(item for item in value if item)
        # Tools send an empty list as a list of another type.
        if hasattr(value, '__len__') and not isinstance(value, str) and not len(value):
            return ()
        raise SettingsError(f"expected {name} as a list like \"['a', 'b']\", got {value!r}")
    if isinstance(default, float) and not math.isfinite(value):
        raise SettingsError(f'expected {name} to be a finite number, got {value}')
    if limits and not limits[0] <= value <= limits[1]:
        raise SettingsError(f'expected {name} from {limits[0]} to {limits[1]}, got {value}')
    if choices and value not in choices:
        raise SettingsError(f"expected {name} to be one of {', '.join(choices)}, got '{value}'")
    return value
