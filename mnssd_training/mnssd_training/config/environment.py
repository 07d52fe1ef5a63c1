"""``${VAR}`` and ``${VAR:-default}`` in values to what the environment holds."""

from collections.abc import Mapping
import re

from mnssd_training.config.tree import Node
from mnssd_training.config.yaml_text import is_text, to_scalar
from mnssd_training.errors import ConfigError

PATTERN = re.compile(r'\$\$\{|\$\{[^}]*\}?')
INSIDE = re.compile(r'\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<or_else>:-(?P<default>[^{}]*))?\}')


def expand(text: str, environment: Mapping[str, str], where: str) -> tuple[str, tuple[str, ...]]:
    """
    Put environment variables into a text.

    :param text: with any number of ``${VAR}`` or ``${VAR:-default}``; ``$${`` stands for ``${``.
    :param environment: names to values.
    :param where: names file and key, for messages.
    :return: the text, and the names of the variables that are set.
    :raises ConfigError: for a variable that is not set and has no default.
    """
    used = []

    def value(found: re.Match[str]) -> str:
        written = found.group()
        if written == '$${':
            return '${'
        inside = INSIDE.fullmatch(written)
        if not inside:
            raise ConfigError(
                f'{where}: expected ${{VAR}} or ${{VAR:-default}}, got {written!r}; '
                'write $${ for a plain ${'
            )
        name, or_else, default = inside.group('name', 'or_else', 'default')
        # As in a shell, :- takes its default for an empty variable too.
        if environment.get(name) or (name in environment and not or_else):
            if not is_text(environment[name]):
                raise ConfigError(f'{where}: expected text in UTF-8 in the variable {name}')
            used.append(name)
            return environment[name]
        if not or_else:
            raise ConfigError(
                f'{where}: the environment variable {name} is not set; set it, or write '
                f'${{{name}:-default}}'
            )
        return str(default)

    return PATTERN.sub(value, text), tuple(used)


def fill_in(node: Node, environment: Mapping[str, str], path: tuple[str, ...] = ()) -> Node:
    """
    Put environment variables into all texts below a node.

    :raises ConfigError: naming file, key and variable.
    """
    if isinstance(node.value, Mapping):
        children = {
            key: fill_in(child, environment, (*path, key)) for key, child in node.value.items()
        }
        return Node(children, node.origin)
    if isinstance(node.value, tuple):
        items = (
            fill_in(child, environment, (*path, str(i))) for i, child in enumerate(node.value)
        )
        return Node(tuple(items), node.origin)
    if not isinstance(node.value, str) or '${' not in node.value:
        return node
    text, used = expand(node.value, environment, f'{node.origin}: {".".join(path)}')
    origin = ', '.join([node.origin, *(f'environment {name}' for name in used)])
    # Also where it was quoted: lists in brackets hold ${VAR} in quotes only. It is text again
    # where text is wanted.
    return Node(to_scalar(text), origin, text, node.value)
