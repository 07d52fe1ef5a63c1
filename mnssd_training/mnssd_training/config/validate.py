"""A tree of keys to a typed experiment, or to what is wrong with it, each with file and line."""

from collections.abc import Iterator, Mapping, Sequence
import json
from typing import Any

from mnssd_training.config.experiment import Experiment
from mnssd_training.config.keys import right_key
from mnssd_training.config.suggest import did_you_mean, shown
from mnssd_training.config.tree import DEFAULT, find, Node, to_plain
from mnssd_training.errors import ConfigError
from pydantic import ValidationError
from pydantic_core import ErrorDetails

KINDS = {
    'bool_type': 'true or false',
    'dataclass_type': 'keys',
    'dict_type': 'keys',
    'finite_number': 'a finite number',
    'float_type': 'a number',
    'int_type': 'a whole number',
    'model_type': 'keys',
    'string_too_short': 'text',
    'string_type': 'text',
    'tuple_type': 'a list',
}
LIMITS = {
    'greater_than': ('more than {}', 'gt'),
    'greater_than_equal': ('at least {}', 'ge'),
    'less_than': ('less than {}', 'lt'),
    'less_than_equal': ('at most {}', 'le'),
    'literal_error': ('{}', 'expected'),
    'string_pattern_mismatch': ('text like {}', 'pattern'),
    'too_long': ('at most {} values', 'max_length'),
    'too_short': ('at least {} values', 'min_length'),
}


def validate(tree: Node) -> Experiment:
    """
    Make an experiment of its keys.

    :param tree: all of them.
    :return: the experiment.
    :raises ConfigError: with all that is wrong in one line.
    """
    found = _look(tree)
    if isinstance(found, Experiment):
        return found
    raise ConfigError('; '.join(found))


def problems(tree: Node) -> list[str]:
    """List all that is wrong with the keys of an experiment, a sentence each."""
    found = _look(tree)
    return [] if isinstance(found, Experiment) else found


def _look(tree: Node) -> Experiment | list[str]:
    """Validate; what stands unquoted where text is wanted is text, also if it looks otherwise."""
    plain = to_plain(tree)
    try:
        return _validated(plain, tree)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            node = find(tree, problem['loc'])
            is_null = node.value is None and node.text != ''
            if problem['type'] == 'string_type' and node.text is not None and not is_null:
                plain = _replaced(plain, problem['loc'], node.text)
    try:
        return _validated(plain, tree)
    except ValidationError as error:
        sentences = [_sentence(problem, tree) for problem in error.errors(include_url=False)]
        return list(dict.fromkeys(sentences))


def _validated(plain: Any, tree: Node) -> Experiment:
    """Let Pydantic look; JSON has lists where Python has tuples, and everything else is strict."""
    experiment = Experiment.model_validate_json(json.dumps(plain), strict=True)
    experiment._references.update(_references(tree, plain, ()))
    return experiment


def _references(
    tree: Node, plain: Any, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], tuple[str, Any]]]:
    """Go through the texts that environment variables were put into."""
    if isinstance(tree.value, Mapping):
        for key, child in tree.value.items():
            yield from _references(child, plain[key], (*path, key))
    elif isinstance(tree.value, tuple):
        for place, child in enumerate(tree.value):
            yield from _references(child, plain[place], (*path, place))
    elif tree.reference is not None:
        yield path, (tree.reference, plain)


def _replaced(plain: Any, path: Sequence[str | int], value: str) -> Any:
    """Copy plain data with one value changed."""
    if not path:
        return value
    copy = plain.copy()
    copy[path[0]] = _replaced(plain[path[0]], path[1:], value)
    return copy


def _sentence(problem: ErrorDetails, tree: Node) -> str:
    """Say what is wrong, and where it was set."""
    path, kind = problem['loc'], problem['type']
    context: Mapping[str, Any] = problem.get('ctx', {})
    if kind == 'value_error':
        path, reason = _named(path, str(context['error']), tree)
    elif kind == 'missing' and isinstance(path[-1], int):
        path, reason = path[:-1], f'expected more than {path[-1]} values'
    else:
        reason = _reason(kind, problem['input'], context, problem['msg'])
    key = ' '.join('.'.join(map(str, path)).split())
    origin = find(tree, path).origin
    if origin == DEFAULT:  # no default is wrong: something else makes it so
        origin = tree.origin
    if kind in ('extra_forbidden', 'unexpected_keyword_argument'):
        return f'{origin}: unknown key {key!r}; {right_key(path)}'
    if kind == 'missing' and path == problem['loc']:
        return f'{origin}: missing key {key!r}'
    return f'{origin}: {key}: {reason}'


def _named(
    path: tuple[str | int, ...], reason: str, tree: Node
) -> tuple[tuple[str | int, ...], str]:
    """Move a key that a check of a whole section names from its words to the path."""
    key, colon, rest = reason.partition(': ')
    section = find(tree, path).value
    if colon and isinstance(section, Mapping) and key in section:
        return (*path, key), rest
    return path, reason


def _reason(kind: str, given: Any, context: Mapping[str, Any], message: str) -> str:
    """Say what was expected and what is there."""
    got = f'got {shown(given)}'
    if kind in KINDS:
        return f'expected {KINDS[kind]}, {got}'
    if kind not in LIMITS:
        return f'{message[:1].lower()}{message[1:]}, {got}'
    words, limit = LIMITS[kind]
    expected = f'expected {words.format(context[limit])}, {got}'
    if kind != 'literal_error' or not isinstance(given, str):
        return expected
    hint = did_you_mean(given, str(context['expected']).split("'")[1::2])
    return f'{expected}; {hint}' if hint.startswith('did') else expected
