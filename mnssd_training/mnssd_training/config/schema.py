"""The sections to a JSON schema, by which editors complete and check experiment files."""

from collections.abc import Mapping
from dataclasses import is_dataclass
import re
from typing import Any

from mnssd_training.config.experiment import Experiment
from mnssd_training.config.shipped import shipped_components, shipped_experiments

VARIABLE = {'type': 'string', 'pattern': r'\$\{', 'description': 'An environment variable.'}
IVAR = re.compile(r':ivar (\w+): (.*?)(?=\n\s*:|\n\s*\n|\Z)', re.DOTALL)


def json_schema() -> dict[str, Any]:
    """
    Describe an experiment file.

    No key is required, because a base or a component may have it, and ``${VAR}`` may stand for
    any scalar.

    :return: JSON schema, draft 2020-12.
    """
    plain = _open(Experiment.model_json_schema())
    _describe(plain['$defs'])
    sections = plain['properties']
    text = {'type': 'string'}
    files = {'anyOf': [{'enum': list(shipped_experiments())}, text]}
    sections_alone = {
        'type': 'object',
        'additionalProperties': False,
        'properties': dict(sections),
    }
    plain['properties'] = {
        '_base_': {
            'description': 'What this experiment is like: a file, the name of an experiment that '
            'comes with mnssd, or a list of them.',
            'anyOf': [*files['anyOf'], {'type': 'array', 'items': files}],
        },
        'defaults': {
            'description': 'Sections to the component files that set them anew.',
            'type': 'object',
            'additionalProperties': False,
            'properties': {name: _components(name) for name in sections},
        },
        **sections,
        'overrides': {'description': 'Sections that win over all above.', **sections_alone},
    }
    return {'$schema': 'https://json-schema.org/draft/2020-12/schema', **plain}


def _components(section: str) -> dict[str, Any]:
    """Describe the name of a component: one that comes with mnssd, or a file."""
    known = [name for name in shipped_components() if name.startswith(f'{section}/')]
    return {'anyOf': [*([{'enum': known}] if known else []), {'type': 'string'}]}


def _open(schema: Any) -> Any:
    """Require no key, and allow a variable wherever a number, a word or a truth value stands."""
    if isinstance(schema, list):
        return [_open(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {
        key: {name: _open(item) for name, item in value.items()}
        if key in ('properties', '$defs')
        else value
        if key in ('default', 'enum')
        else _open(value)
        for key, value in schema.items()
        if key not in ('required', 'title', 'path')
    }
    if found.get('type') in ('integer', 'number', 'boolean') or 'enum' in found:
        about = {key: found.pop(key) for key in ('description', 'default') if key in found}
        return {**about, 'anyOf': [found, VARIABLE]}
    return found


def _describe(definitions: dict[str, Any]) -> None:
    """Give the keys of plain dataclasses the words of their docstrings, in place."""
    for field in Experiment.model_fields.values():
        kind = field.annotation
        if isinstance(kind, type) and is_dataclass(kind):
            for name, words in IVAR.findall(kind.__doc__ or ''):
                key = definitions[kind.__name__]['properties'][name]
                key['description'] = ' '.join(words.split())
