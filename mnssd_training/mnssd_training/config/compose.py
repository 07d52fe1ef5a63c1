"""
Composition of experiments from YAML files, components, the environment and the command line.

Later sources win: the defaults of the schema, the experiments in ``_base_`` in their order, the
components in ``defaults``, the sections of the file, its ``overrides``, the command line. Mappings
are merged key by key and lists are replaced, but a component replaces its section: keys of the
same section in a base have no effect. Environment variables are inserted last.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
import os
from pathlib import Path

from mnssd_perception.text import did_you_mean
from mnssd_training.config.environment import expand, expand_tree
from mnssd_training.config.experiment import Experiment
from mnssd_training.config.sections import Section
from mnssd_training.config.validate import format_value, validate
from mnssd_training.config.yaml_tree import (
    DEFAULT,
    from_plain,
    has_surrogates,
    MAX_DEPTH,
    merge,
    Node,
    read_yaml,
    to_plain,
)
from mnssd_training.errors import ConfigError
from pydantic_core import to_jsonable_python

EXPERIMENTS = Path(__file__).parent / 'experiments'
COMPONENTS = Path(__file__).parent / 'components'
COMMAND_LINE = 'command line'
MAX_BYTES = 100_000  # of an experiment file


def load_experiment(
    source: str | Path,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Experiment:
    """
    Compose and validate an experiment.

    :param source: a YAML file, or the name of a shipped experiment.
    :param overrides: ``key.path=value``, the value in YAML; the last one wins.
    :param environment: for ``${VAR}``; None for the environment of the process.
    :raises ConfigError: with all problems, naming file, line and key.
    """
    return validate(compose(source, overrides, environment))


def compose(
    source: str | Path,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Node:
    """Compose the keys of an experiment as `load_experiment` does, without validation."""
    environment = os.environ if environment is None else environment
    path = _find_experiment(str(source), Path(), '')
    tree = merge(_schema_defaults(Experiment), _load_file(path, environment, ()))
    for override in overrides:
        tree = _apply_override(tree, override)
    return expand_tree(tree, environment)


def compose_section(
    section: type[Section], layers: Iterable[Node], overrides: Sequence[str] = ()
) -> Node:
    """Compose the keys of a section: its defaults, layers, and overrides; the last one wins."""
    tree = _schema_defaults(section)
    for layer in layers:
        tree = Node(merge(tree, layer).value, layer.origin)
    for override in overrides:
        tree = _apply_override(tree, override)
    return tree


def read_keys(path: Path, environment: Mapping[str, str]) -> Node:
    """
    Read a YAML file with keys and insert environment variables.

    :raises ConfigError: naming file, line and key.
    """
    label = _label(path)
    keys = _keys(_read_file(path, label), f'{label}: expected keys at the top level')
    return expand_tree(Node(keys, label), environment)


def shipped_experiments() -> tuple[str, ...]:
    """List the names of the shipped experiments."""
    return tuple(sorted(path.stem for path in EXPERIMENTS.glob('*.yaml')))


def shipped_components() -> tuple[str, ...]:
    """List the shipped components as ``defaults`` names them: ``optimizer/sgd.yaml``."""
    return tuple(
        sorted(path.relative_to(COMPONENTS).as_posix() for path in COMPONENTS.glob('*/*.yaml'))
    )


def summarize_experiment(name: str) -> str:
    """Return the first sentence of the comment in a shipped experiment."""
    lines = (EXPERIMENTS / f'{name}.yaml').read_text(encoding='utf-8').splitlines()
    comment = ' '.join(line[2:] for line in takewhile(lambda line: line.startswith('#'), lines))
    return f'{comment.partition(". ")[0].rstrip(".")}.'


def _schema_defaults(section: type[Section]) -> Node:
    defaults = {}
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            defaults[name] = _schema_defaults(annotation)
        elif not field.is_required():
            value = to_jsonable_python(field.get_default(call_default_factory=True))
            defaults[name] = from_plain(value, DEFAULT)
    return Node(defaults, DEFAULT)


def _apply_override(tree: Node, override: str) -> Node:
    if has_surrogates(override):
        raise ConfigError(f'{COMMAND_LINE}: expected text in UTF-8, got {override[:80]!r}')
    key, equals, text = override.partition('=')
    path = key.split('.')
    if not equals or not all(path) or len(path) > MAX_DEPTH:
        raise ConfigError(f'{COMMAND_LINE}: expected key.path=value, got {override[:80]!r}')
    try:
        node = read_yaml(text, COMMAND_LINE, lines=False)
        for step in reversed(path):
            node = Node({step: node}, COMMAND_LINE)
        # The root keeps its file as origin: the file is what lacks a missing key.
        return Node(merge(tree, node).value, tree.origin)
    except ConfigError as error:
        raise ConfigError(f'{error}, in {override[:80]!r}') from error


def _find_experiment(name: str, folder: Path, where: str) -> Path:
    shipped = shipped_experiments()
    path = EXPERIMENTS / f'{name}.yaml' if name in shipped else folder / name
    return _find_file((path,), where, 'experiment', name, shipped)


def _find_file(
    paths: Iterable[Path], where: str, noun: str, name: str, known: Iterable[str]
) -> Path:
    """Return the first of some paths that exists."""
    for path in paths:
        with suppress(OSError, ValueError):  # a name that no file can have
            if path.is_dir():
                raise ConfigError(f'{where}{path}: is a directory')
            if path.exists():
                return path
    raise ConfigError(f'{where}no such {noun} {name[:200]!r}; {did_you_mean(name, known)}')


def _load_file(path: Path, environment: Mapping[str, str], parents: tuple[Path, ...]) -> Node:
    """Load a file with its bases and components; ``parents`` are the files that led here."""
    label, resolved = _label(path), path.resolve()
    if resolved in parents:
        cycle = (*parents[parents.index(resolved) :], resolved)
        raise ConfigError(f'{label}: _base_ is circular: {" -> ".join(map(_label, cycle))}')
    if len(parents) >= MAX_DEPTH:
        raise ConfigError(f'{label}: expected at most {MAX_DEPTH} nested files')
    parents = (*parents, resolved)
    keys = _keys(_read_file(path, label), f'{label}: expected keys at the top level')
    bases = keys.pop('_base_', Node((), label))
    components, overrides = keys.pop('defaults', None), keys.pop('overrides', None)
    tree = Node({}, label)
    for base in bases.value if isinstance(bases.value, tuple) else (bases,):
        where = f'{base.origin}: _base_'
        name = _file_name(base, environment, where, 'a file or a list')
        base_path = _find_experiment(name, path.parent, f'{where}: ')
        tree = merge(tree, _load_file(base_path, environment, parents))
    sections = _keys(tree, '')
    if components is not None:
        where = f'{components.origin}: defaults'
        for section, node in _keys(components, f'{where}: expected section: file').items():
            where = f'{node.origin}: defaults.{section}'
            if section not in Experiment.model_fields:
                hint = did_you_mean(section, Experiment.model_fields)
                raise ConfigError(f'{where}: no such section; {hint}')
            name = _file_name(node, environment, where, 'a file')
            paths = (path.parent / name, COMPONENTS / name)
            component = _find_file(paths, f'{where}: ', 'component', name, shipped_components())
            sections[section] = _load_file(component, environment, parents)
    tree = merge(Node(sections, label), Node(keys, label))
    if overrides is not None:
        where = f'{overrides.origin}: overrides: expected sections with their keys'
        tree = merge(tree, Node(_keys(overrides, where), overrides.origin))
    return tree


def _label(path: Path) -> str:
    """Name a file for messages; shipped files without the folder of the installation."""
    for folder in (EXPERIMENTS, COMPONENTS):
        if folder in path.parents:
            return path.relative_to(folder).as_posix()
    return str(path)


def _read_file(path: Path, label: str) -> Node:
    try:
        with path.open('rb') as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(f'{label}: expected at most {MAX_BYTES} bytes of YAML')
        return read_yaml(content.decode(), label)
    except UnicodeDecodeError as error:
        raise ConfigError(f'{label}: not YAML: not text in UTF-8') from error
    except OSError as error:
        raise ConfigError(f'{label}: {error.strerror or error}') from error


def _keys(node: Node, message: str) -> dict[str, Node]:
    """Return the keys of a mapping; a key with only comments below it counts as absent."""
    if not isinstance(node.value, Mapping):
        raise ConfigError(f'{message}, got {format_value(to_plain(node))}')
    return {key: child for key, child in node.value.items() if child.text != ''}


def _file_name(node: Node, environment: Mapping[str, str], where: str, expected: str) -> str:
    if not isinstance(node.value, str):
        raise ConfigError(f'{where}: expected {expected}, got {format_value(to_plain(node))}')
    return expand(node.value, environment, where)[0]
