"""A frozen dataclass to declared, validated parameters of a node, and back."""

from collections.abc import Callable, Iterable, Sequence
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

QOS_OVERRIDES = 'qos_overrides.'  # declared by rclpy once a topic is created


def parameter(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] = (),
    read_only: bool = False,
) -> Any:
    """
    Describe a parameter, as the default of a dataclass field.

    :param default: bool, int, float, str, or a tuple of str.
    :param description: one sentence with the unit.
    :param minimum: the least number allowed.
    :param maximum: the largest number allowed; given whenever ``minimum`` is.
    :param choices: the words allowed; empty for any.
    :param read_only: whether it is fixed once the node has started.
    :return: the field.
    """
    metadata = {
        'description': description,
        'range': None if minimum is None else (minimum, maximum),
        'choices': tuple(choices),
        'read_only': read_only,
    }
    return field(default=default, metadata=metadata)


class Parameters(Generic[T]):
    """
    The parameters of a node, declared from a dataclass and kept up to date.

    :param node: declares them.
    :param kind: a frozen dataclass with a :func:`parameter` for each field.
    :param check: raises :class:`MnssdError` for values that are wrong together or in a way that
        a range cannot say; must have no side effect.
    :param apply: is called with the new values after a change.
    :param known_names: parameters of other nodes, which one section of a parameter file may hold
        beside those of this one.
    :raises SettingsError: when a value given at the start is refused, or a name is unknown.
    """

    def __init__(
        self,
        node: Node,
        kind: type[T],
        check: Callable[[T], object] = lambda values: None,
        apply: Callable[[T], None] = lambda values: None,
        known_names: Iterable[str] = (),
    ) -> None:
        self._node = node
        self._fields: dict[str, Field] = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]
        self._check, self._apply = check, apply
        self.values: T = kind()
        # rclpy has no public way to ask what was given at the start.
        overrides: dict[str, Parameter] = node._parameter_overrides
        _check_names(node, overrides, {*self._fields, *known_names})
        self._given = set(overrides) & set(self._fields)
        self._sets_defaults = False
        given = [_declare(node, entry, overrides) for entry in self._fields.values()]
        self.values = self._changed(given)
        node.add_on_set_parameters_callback(self._validate)
        if hasattr(node, 'add_post_set_parameters_callback'):
            self._applies_while_validating = False
            node.add_post_set_parameters_callback(self._take_over)
        else:  # Humble knows no second step
            self._applies_while_validating = True

    def check_again(self, check: Callable[[T], object]) -> None:
        """
        Replace the check, once more is known, and apply it to the present values.

        :param check: as for the constructor.
        :raises MnssdError: what the check raises.
        """
        check(self.values)
        self._check = check

    def set_defaults(self, **defaults: Any) -> None:
        """
        Give new values to those parameters that nobody has set, at the start or later.

        :param defaults: name to value.
        :raises SettingsError: when a value is refused.
        """
        changes = [
            Parameter(name, value=value)
            for name, value in defaults.items()
            if name not in self._given
        ]
        self._sets_defaults = True
        try:
            result = self._node.set_parameters_atomically(changes)
        finally:
            self._sets_defaults = False
        if not result.successful:
            raise SettingsError(result.reason)

    def _validate(self, parameters: list[Parameter]) -> SetParametersResult:
        """Say whether a change is allowed."""
        try:
            self._changed(parameters)
        except MnssdError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if self._applies_while_validating:
            self._take_over(parameters)
        return SetParametersResult(successful=True)

    def _take_over(self, parameters: list[Parameter]) -> None:
        """Apply a change that was allowed."""
        values = self._changed(parameters)
        if not self._sets_defaults:
            self._given |= {entry.name for entry in parameters}
        if values != self.values:
            self.values = values
            self._apply(values)

    def _changed(self, parameters: list[Parameter]) -> T:
        """Make the values as they are after a change, or raise."""
        changes = {
            entry.name: _value(self._fields[entry.name], entry.value)
            for entry in parameters
            if entry.name in self._fields
        }
        values = replace(self.values, **changes)  # type: ignore[type-var]
        self._check(values)
        return values


def _check_names(node: Node, names: Iterable[str], known: set[str]) -> None:
    """Refuse a name that no node has: most likely it is misspelt, and would be ignored."""
    for name in names:
        if name in known or name.startswith(QOS_OVERRIDES) or node.has_parameter(name):
            continue
        hint = did_you_mean(name, sorted(known))
        raise SettingsError(f"unknown parameter '{sanitize_text(name)}'; {hint}")


def _declare(node: Node, entry: Field, overrides: dict[str, Parameter]) -> Parameter:
    """Declare one parameter and read the value that it was started with."""
    limits = entry.metadata['range']
    is_list = isinstance(entry.default, tuple)
    descriptor = ParameterDescriptor(
        description=entry.metadata['description'],
        additional_constraints=', '.join(entry.metadata['choices']),
        read_only=entry.metadata['read_only'],
        # An empty list has no type of its own in ROS, so ours is checked by us.
        dynamic_typing=is_list,
    )
    if limits and isinstance(entry.default, float):
        low, high = (float(limit) for limit in limits)
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif limits:
        descriptor.integer_range = [IntegerRange(from_value=limits[0], to_value=limits[1])]
    # A list with one empty string stands for the empty list, which has no type in ROS: a parameter
    # file with `[]` makes a parameter that is not set.
    default: Any = entry.default
    is_emptied = is_list and _is_unset(overrides.get(entry.name))
    if is_list:
        default = [''] if is_emptied else list(default) or ['']
    try:
        return node.declare_parameter(entry.name, default, descriptor, ignore_override=is_emptied)
    except InvalidParameterTypeException as error:
        kind = type(entry.default).__name__
        hint = '; write 1.0 instead of 1' if kind == 'float' else ''
        raise SettingsError(f'expected {entry.name} to be of type {kind}{hint}') from error
    except InvalidParameterValueException as error:
        raise SettingsError(f'{entry.name}: {error}') from error


def _is_unset(override: Parameter | None) -> bool:
    """Tell whether a parameter was given, and without a value."""
    return override is not None and override.type_ is Parameter.Type.NOT_SET


def _value(entry: Field, value: Any) -> Any:
    """Check one value against its field and bring it to the field's type."""
    name, default = entry.name, entry.default
    limits, choices = entry.metadata['range'], entry.metadata['choices']
    if isinstance(default, tuple):
        if not isinstance(value, (list, tuple)) or not all(
            isinstance(item, str) for item in value
        ):
            # Tools write an empty list as a list of another type.
            if hasattr(value, '__len__') and not isinstance(value, str) and not len(value):
                return ()
            example = "['a', 'b']"
            raise SettingsError(f'expected {name} as a list like "{example}", got {value!r}')
        return tuple(item for item in value if item)
    if isinstance(default, float) and not math.isfinite(value):
        raise SettingsError(f'expected {name} to be a finite number, got {value}')
    if limits and not limits[0] <= value <= limits[1]:
        raise SettingsError(f'expected {name} from {limits[0]} to {limits[1]}, got {value}')
    if choices and value not in choices:
        raise SettingsError(f"expected {name} to be one of {', '.join(choices)}, got '{value}'")
    return value
