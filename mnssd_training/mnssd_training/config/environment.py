"""Environment variables in values: ``${VAR}`` and ``${VAR:-default}``."""

from collections.abc import Mapping
import re

from mnssd_training.config.yaml_tree import dotted, has_surrogates, Node, Path, to_scalar
from mnssd_training.errors import ConfigError

REFERENCES = re.compile(r'\$\$\{|\$\{[^}]*\}?')
REFERENCE = re.compile(
    r'\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<or_else>:-(?P<default>[^{}]*))?\}'
)


def expand(text: str, environment: Mapping[str, str], where: str) -> tuple[str, tuple[str, ...]]:
    """
    Replace the references in a text; ``$${`` stands for ``${``.

    :param where: file and key, for messages.
    :return: the text, and the names of the variables that were used.
    :raises ConfigError: for a variable that is not set and has no default.
    """
    used = []

    def replace(match: re.Match[str]) -> str:
        if match.group() == '$${':
            return '${'
        reference = REFERENCE.fullmatch(match.group())
        if not reference:
            raise ConfigError(
                f'{where}: expected ${{VAR}} or ${{VAR:-default}}, got {match.group()!r}; '
                'write $${ for a plain ${'
            )
        name, has_default = reference['name'], reference['or_else']
        # As in a shell, :- replaces an empty variable too.
        if has_default and not environment.get(name):
            return str(reference['default'])
        if name not in environment:
            raise ConfigError(
                f'{where}: the environment variable {name} is not set; set it, or write '
                f'${{{name}:-default}}'
            )
        if has_surrogates(environment[name]):
            raise ConfigError(f'{where}: expected text in UTF-8 in the variable {name}')
        used.append(name)
        return environment[name]

    return REFERENCES.sub(replace, text), tuple(used)


def expand_tree(node: Node, environment: Mapping[str, str], path: Path = ()) -> Node:
    """
    Replace the references in all strings of a tree.

    :raises ConfigError: naming file, key and variable.
    """
    if isinstance(node.value, Mapping):
        keys = node.value.items()
        mapping = {key: expand_tree(child, environment, (*path, key)) for key, child in keys}
        return Node(mapping, node.origin)
    if isinstance(node.value, tuple):
        items = (expand_tree(item, environment, (*path, i)) for i, item in enumerate(node.value))
        return Node(tuple(items), node.origin)
    if not isinstance(node.value, str) or '${' not in node.value:
        return node
    text, used = expand(node.value, environment, f'{node.origin}: {dotted(path)}')
    origin = ', '.join([node.origin, *(f'environment {name}' for name in used)])
    # Quoted references become numbers too, because lists in brackets need the quotes.
    return Node(to_scalar(text), origin, text, node.value)
