"""Validation of a tree of keys, with file, line and a hint for everything that is wrong."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
import json
from typing import Any, get_args, get_type_hints, TypeVar

from mnssd_perception.text import did_you_mean
from mnssd_training.config.experiment import Experiment
from mnssd_training.config.renamed import RENAMED
from mnssd_training.config.sections import Section
from mnssd_training.config.yaml_tree import DEFAULT, dotted, find, Node, Path, to_plain
from mnssd_training.errors import ConfigError
from pydantic import ValidationError
from pydantic_core import ErrorDetails

S = TypeVar('S', bound=Section)

# What Pydantic expected, by the type of its error.
EXPECTED = {
    'bool_type': 'true or false',
    'dataclass_type': 'keys',
    'dict_type': 'keys',
    'finite_number': 'a finite number',
    'float_type': 'a number',
    'greater_than': 'more than {gt}',
    'greater_than_equal': 'at least {ge}',
    'int_type': 'an integer',
    'less_than': 'less than {lt}',
    'less_than_equal': 'at most {le}',
    'literal_error': '{expected}',
    'model_type': 'keys',
    'string_pattern_mismatch': 'text like {pattern}',
    'string_too_short': 'text',
    'string_type': 'text',
    'too_long': 'at most {max_length} values',
    'too_short': 'at least {min_length} values',
    'tuple_type': 'a list',
}


class InvalidExperimentError(ConfigError):
    """Keys of an experiment are invalid; each problem names file, line and key."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__('; '.join(problems))
        self.problems = tuple(problems)


def validate(tree: Node) -> Experiment:
    """
    Convert a tree of keys to an experiment, see :func:`validate_section`.

    :raises InvalidExperimentError: with all problems.
    """
    experiment = validate_section(tree, Experiment)
    experiment._tree = tree
    return experiment


def validate_section(tree: Node, section: type[S]) -> S:
    """
    Convert a tree of keys to a section with all its keys.

    :raises InvalidExperimentError: with all problems.
    """
    texts: set[Path] = set()
    problems: list[ErrorDetails] = []
    for _ in range(2):
        try:
            # Strict JSON: lists are tuples there, and nothing else is converted.
            plain = json.dumps(to_plain(tree, texts))
            return section.model_validate_json(plain, strict=True)
        except ValidationError as error:
            problems = error.errors(include_url=False)
            # An unquoted scalar is text where text is expected, even if it looks like a number.
            texts = {problem['loc'] for problem in problems if _is_unquoted_text(problem, tree)}
    raise InvalidExperimentError(
        list(dict.fromkeys(_format_problem(problem, tree, section) for problem in problems))
    )


def _is_unquoted_text(problem: ErrorDetails, tree: Node) -> bool:
    node = find(tree, problem['loc'])
    is_null = node.value is None and node.text != ''
    return problem['type'] == 'string_type' and node.text is not None and not is_null


def _format_problem(problem: ErrorDetails, tree: Node, schema: type[Section]) -> str:
    path, error_type = problem['loc'], problem['type']
    context = problem.get('ctx', {})
    if error_type == 'value_error':  # of a validator, which may begin with a key of its section
        reason = str(context['error'])
        key, colon, message = reason.partition(': ')
        section = find(tree, path).value
        if colon and isinstance(section, Mapping) and key in section:
            path, reason = (*path, key), message
    elif error_type == 'missing' and isinstance(path[-1], int):
        path, reason = path[:-1], f'expected more than {path[-1]} values'
    else:
        reason = _format_expectation(problem, context)
    key = ' '.join(dotted(path).split())
    origin = find(tree, path).origin
    if origin == DEFAULT:  # a default is right; another key contradicts it
        origin = tree.origin
    if error_type in ('extra_forbidden', 'unexpected_keyword_argument'):
        return f'{origin}: unknown key {key!r}; {suggest_key(path, schema)}'
    if error_type == 'missing' and path == problem['loc']:
        return f'{origin}: missing key {key!r}'
    return f'{origin}: {key}: {reason}'


def _format_expectation(problem: ErrorDetails, context: Mapping[str, Any]) -> str:
    error_type, value = problem['type'], problem['input']
    if error_type not in EXPECTED:
        return f'{problem["msg"][:1].lower()}{problem["msg"][1:]}, got {format_value(value)}'
    reason = f'expected {EXPECTED[error_type].format_map(context)}, got {format_value(value)}'
    if error_type == 'literal_error' and isinstance(value, str):
        hint = did_you_mean(value, context['expected'].split("'")[1::2])
        return f'{reason}; {hint}' if hint.startswith('did') else reason
    return reason


def suggest_key(path: Sequence[str | int], schema: type[Section] = Experiment) -> str:
    """
    Suggest a key for an unknown one.

    This is its name now, a similar key of its section, a section that has it, or all keys of the
    section.
    """
    section: Any = schema
    for step in path[:-1]:
        items = get_args(section)[:1] or (None,)
        section = items[0] if isinstance(step, int) else _fields(section).get(step)
    prefix = ''.join(f'{step}.' for step in path[:-1])
    # An item of a list of sections has the keys of the section with the list.
    name = RENAMED.get(f'{path[0]}.{path[-1]}')
    if name in _fields(section):
        return f'it is now {prefix + name!r}'
    hint = did_you_mean(str(path[-1]), _fields(section), prefix)
    if hint.startswith('did'):
        return hint
    elsewhere = [key for key in all_keys(schema) if key.rpartition('.')[2] == path[-1]]
    return f'did you mean {elsewhere[0]!r}?' if elsewhere else hint


def all_keys(section: Any = Experiment, prefix: str = '') -> Iterator[str]:
    """Yield the dotted paths of all keys below a section."""
    for name, annotation in _fields(section).items():
        yield f'{prefix}{name}'
        yield from all_keys(annotation, f'{prefix}{name}.')


def _fields(section: Any) -> dict[str, Any]:
    """Return the keys of a section with their types; other types have none."""
    if isinstance(section, type) and issubclass(section, Section):
        return {name: field.annotation for name, field in section.model_fields.items()}
    return get_type_hints(section) if is_dataclass(section) else {}


def format_value(value: Any) -> str:
    """Format a plain value as JSON of at most 60 characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f'{text[:57]}...'
