"""
Experiment files, components and the command line to one tree of keys.

What stands later in this list wins: the defaults of the schema, the bases that ``_base_`` names in
their order, the components that ``defaults`` names, the sections of the file, its ``overrides``,
the command line. Dicts are merged key by key and lists are replaced, but a component sets its
section anew: nothing of the same section in a base shows through. Environment variables are put in
last.
"""

from collections.abc import Iterator, Mapping, Sequence
import os
from pathlib import Path

from mnssd_perception.text import sanitize_text
from mnssd_training.config.environment import expand, fill_in
from mnssd_training.config.experiment import Experiment
from mnssd_training.config.section import Section
from mnssd_training.config.shipped import (
    COMPONENTS,
    EXPERIMENTS,
    label,
    shipped_components,
    shipped_experiments,
)
from mnssd_training.config.suggest import did_you_mean, shown
from mnssd_training.config.tree import DEFAULT, from_plain, MAX_DEPTH, merge, Node, put, to_plain
from mnssd_training.config.yaml_text import is_text, read_yaml
from mnssd_training.errors import ConfigError
from pydantic_core import to_jsonable_python

COMMAND_LINE = 'command line'
MAX_BYTES = 100_000  # of a file; beyond it is no experiment


def compose(
    source: str | Path,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Node:
    """
    Put an experiment together.

    :param source: a YAML file, or the name of a shipped experiment.
    :param overrides: ``key.path=value``, the value in YAML; the last one wins.
    :param environment: of ``${VAR}``; None for that of the process.
    :return: all its keys, not validated.
    :raises ConfigError: naming file, line and key.
    """
    environment = os.environ if environment is None else environment
    tree = merge(_defaults_of(Experiment), _read(_experiment(str(source)), environment, ()))
    for override in overrides:
        tree = _override(tree, override)
    return fill_in(tree, environment)


def _defaults_of(section: type[Section]) -> Node:
    """List what the schema says where nobody else says anything."""
    found = {}
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            found[name] = _defaults_of(kind)
        elif not field.is_required():
            found[name] = from_plain(
                to_jsonable_python(field.get_default(call_default_factory=True)), DEFAULT
            )
    return Node(found, DEFAULT)


def _override(tree: Node, override: str) -> Node:
    """Lay one ``key.path=value`` of the command line over a tree."""
    if not is_text(override):
        raise ConfigError(f'{COMMAND_LINE}: expected text in UTF-8, got {override[:80]!r}')
    key, equals, text = override.partition('=')
    path = key.split('.')
    if not equals or not all(path) or len(path) > MAX_DEPTH:
        raise ConfigError(f'{COMMAND_LINE}: expected key.path=value, got {override[:80]!r}')
    try:
        return put(tree, path, read_yaml(text, COMMAND_LINE, lines=False))
    except ConfigError as error:
        raise ConfigError(f'{error}, in {override[:80]!r}') from error


def _experiment(name: str, folder: Path = Path(), where: str = '') -> Path:
    """Find the file of an experiment."""
    if name in shipped_experiments():
        return EXPERIMENTS / f'{name}.yaml'
    path = folder / name
    if not _exists(path):
        hint = did_you_mean(name, shipped_experiments())
        raise ConfigError(f'{where}{sanitize_text(str(path))}: no such experiment; {hint}')
    if path.is_dir():
        raise ConfigError(f'{where}{path}: Is a directory')
    return path


def _component(name: str, folder: Path, where: str) -> Path:
    """Find the file of a component: beside the experiment, or among those that are shipped."""
    for path in (folder / name, COMPONENTS / name):
        if _exists(path):
            if path.is_dir():
                raise ConfigError(f'{where}: {path}: Is a directory')
            return path
    raise ConfigError(
        f'{where}: no such component {name!r}; {did_you_mean(name, shipped_components())}'
    )


def _exists(path: Path) -> bool:
    """Look for a file; a name that no file can have is none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _read(path: Path, environment: Mapping[str, str], inside: tuple[Path, ...]) -> Node:
    """
    Read a file with its bases and components.

    :param path: the file.
    :param environment: of ``${VAR}`` in the names of bases and components.
    :param inside: the files that have led here.
    :return: its keys.
    """
    here = path.resolve()
    if here in inside:
        chain = ' -> '.join(label(file) for file in (*inside[inside.index(here) :], here))
        raise ConfigError(f'{label(path)}: _base_ goes round in a circle: {chain}')
    if len(inside) >= MAX_DEPTH:
        raise ConfigError(f'{label(path)}: expected at most {MAX_DEPTH} files in each other')
    own = _keys(_yaml(path), f'{label(path)}: expected keys at the top level')
    bases, components, last = (own.pop(key, None) for key in ('_base_', 'defaults', 'overrides'))
    tree = Node({}, label(path))
    for base, where in _bases(bases, environment):
        found = _experiment(base, path.parent, f'{where}: ')
        tree = merge(tree, _read(found, environment, (*inside, here)))
    sections = _keys(tree, '')
    for section, name, where in _components(components, environment):
        found = _component(name, path.parent, where)
        sections[section] = _read(found, environment, (*inside, here))
    tree = merge(Node(sections, label(path)), Node(own, label(path)))
    if last is None:
        return tree
    where = f'{last.origin}: overrides: expected sections with their keys'
    return merge(tree, Node(_keys(last, where), last.origin))


def _yaml(path: Path) -> Node:
    """Read one file."""
    try:
        with path.open('rb') as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(f'{label(path)}: expected at most {MAX_BYTES} bytes of YAML')
        return read_yaml(content.decode(), label(path))
    except UnicodeDecodeError as error:
        raise ConfigError(f'{label(path)}: not YAML: not text in UTF-8') from error
    except OSError as error:
        raise ConfigError(f'{label(path)}: {error.strerror or error}') from error


def _keys(node: Node, wrong: str) -> dict[str, Node]:
    """Take the keys of a node; one with nothing but comments below it is as good as absent."""
    if not isinstance(node.value, Mapping):
        raise ConfigError(f'{wrong}, got {shown(to_plain(node))}')
    return {key: child for key, child in node.value.items() if child.text != ''}


def _bases(node: Node | None, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Go through (name, where) of ``_base_``: one, or a list."""
    if node is None:
        return
    for base in node.value if isinstance(node.value, tuple) else (node,):
        where = f'{base.origin}: _base_'
        if not isinstance(base.value, str):
            raise ConfigError(f'{where}: expected a file or a list, got {shown(to_plain(base))}')
        yield expand(base.value, environment, where)[0], where


def _components(
    node: Node | None, environment: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Go through (section, name, where) of ``defaults``."""
    if node is None:
        return
    for section, child in _keys(node, f'{node.origin}: defaults: expected section: file').items():
        where = f'{child.origin}: defaults.{section}'
        if section not in Experiment.model_fields:
            hint = did_you_mean(section, Experiment.model_fields)
            raise ConfigError(f'{where}: no such section; {hint}')
        if not isinstance(child.value, str):
            raise ConfigError(f'{where}: expected a file, got {shown(to_plain(child))}')
        yield section, expand(child.value, environment, where)[0], where
