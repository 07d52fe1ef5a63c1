"""JSON schema of experiment files, for completion and checks in editors."""

from collections.abc import Mapping
from itertools import groupby
import re
from typing import Any

from mnssd_perception.ssd import MatchingConfig
from mnssd_training.config.compose import shipped_components, shipped_experiments
from mnssd_training.config.experiment import Experiment
from mnssd_training.config.sections import AssignmentConfig

VARIABLE = {'type': 'string', 'pattern': r'\$\{', 'description': 'An environment variable.'}
IVAR = re.compile(r':ivar (\w+): (.*?)(?=\n\s*:|\n\s*\n|\Z)', re.DOTALL)


def json_schema() -> dict[str, Any]:
    """
    Return the JSON schema of experiment files, draft 2020-12.

    No key is required, because a base or a component may have it, and ``${VAR}`` may replace any
    scalar.
    """
    schema = _relax(Experiment.model_json_schema())
    # The only keys of a plain dataclass are described in its docstring.
    keys = schema['$defs'][AssignmentConfig.__name__]['properties']
    for name, description in IVAR.findall(MatchingConfig.__doc__ or ''):
        keys[name]['description'] = ' '.join(description.split())
    sections = schema['properties']
    text = {'type': 'string'}
    experiments = [{'enum': list(shipped_experiments())}, text]
    mapping = {'type': 'object', 'additionalProperties': False}
    components: dict[str, Any] = {section: {'anyOf': [text]} for section in sections}
    for section, names in groupby(shipped_components(), lambda name: name.partition('/')[0]):
        components[section]['anyOf'] = [{'enum': list(names)}, text]
    schema['properties'] = {
        '_base_': {
            'description': 'The experiments that this one extends: a file, the name of a shipped '
            'experiment, or a list of them.',
            'anyOf': [*experiments, {'type': 'array', 'items': {'anyOf': experiments}}],
        },
        'defaults': {
            'description': 'Component files that replace sections.',
            **mapping,
            'properties': components,
        },
        **sections,
        'overrides': {
            'description': 'Sections that override all above.',
            **mapping,
            'properties': sections,
        },
    }
    return {'$schema': 'https://json-schema.org/draft/2020-12/schema', **schema}


def _relax(schema: Any) -> Any:
    """Require no key, and allow a variable wherever a number, a word or a boolean is."""
    if isinstance(schema, list):
        return [_relax(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    relaxed: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ('properties', '$defs'):
            relaxed[key] = {name: _relax(item) for name, item in value.items()}
        elif key not in ('required', 'title', 'path'):
            relaxed[key] = value if key in ('default', 'enum') else _relax(value)
    if relaxed.get('type') in ('integer', 'number', 'boolean') or 'enum' in relaxed:
        about = {key: relaxed.pop(key) for key in ('description', 'default') if key in relaxed}
        return {**about, 'anyOf': [relaxed, VARIABLE]}
    return relaxed
