"""Experiments that the schema lets pass, with values that nobody would choose, before training."""

import shutil
from typing import Any

from mnssd_training.config import Experiment, load_experiment
from mnssd_training.config.keys import known_keys
from mnssd_training.train.rehearsal import rehearse
import numpy as np
import yaml

from mnssd_attack.datasets import write_files
from mnssd_attack.training_target import TrainingTarget
from mnssd_attack.words import naming

__all__ = ['attack_rehearsal']

# So small that a trial takes a moment.
SMALL = (
    'input.size=[96, 120]', 'model.channels=16', 'model.width=0.35', 'training.batch_size=2',
    'training.workers=0', 'training.accelerator=cpu',
)  # fmt: skip
# What a trial has no time or no machine for.
KEPT = ('training.compile', 'training.devices', 'training.nodes', 'data.root', 'data.format')
NUMBERS = (0, 1, 2, 3, 5, 7, 16, 64, 129)
PARTS = (0.0, 1e-30, 1e-3, 0.25, 0.5, 0.75, 0.999, 1.0, 1.5, 4.0, 300.0)
TEXTS = (
    '', 'car', 'none', 'train', '/nowhere/at.pt', 's3:', 'timm/none', 'timm/', 'resnet',
    'timm/mobilenetv3_small_050', 'timm/vit_tiny_patch16_224', 'mobilenet_v2', '.', '\0',
)  # fmt: skip


def attack_rehearsal(target: TrainingTarget, generator: np.random.Generator) -> None:
    """
    Build everything for a strange experiment, and look at its first batch.

    :param target: what is attacked.
    :param generator: of the values.
    """
    shutil.rmtree(target.place, ignore_errors=True)
    dataset = target.datasets['voc']
    write_files(target.place, dataset.files)
    words = [f'data.root={target.place}', *SMALL]
    words += [_override(generator) for _ in range(int(generator.integers(1, 4)))]
    keys = [key for key in known_keys() if '.' in key]
    with naming([*keys, f'{target.place}/', 'command line: ', *(f'{text}: ' for text in TEXTS)]):
        for line in rehearse(load_experiment('smoke', words, environment={})):
            assert line


def _override(generator: np.random.Generator) -> str:
    """Make an override of some key by a value of its type."""
    schema = Experiment.model_json_schema()
    sections = {
        name: _resolved(part, schema)['properties']
        for name, part in schema['properties'].items()
        if name not in ('experiment', 'logging', 'checkpoint')
    }
    keys = [f'{name}.{key}' for name, part in sections.items() for key in part]
    keys = [key for key in keys if key not in KEPT]
    key = str(generator.choice(keys))
    section, name = key.split('.')
    value = _value(_resolved(sections[section][name], schema), schema, generator)
    return (
        f'{key}={yaml.safe_dump(value, default_flow_style=True, width=1 << 30).split(chr(10))[0]}'
    )


def _resolved(part: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference of a JSON schema."""
    if '$ref' in part:
        return dict(schema['$defs'][part['$ref'].rpartition('/')[2]])
    return part


def _value(part: dict[str, Any], schema: dict[str, Any], generator: np.random.Generator) -> Any:
    """Make a value that a part of the schema allows, more often than not."""
    part = _resolved(part, schema)

    def one_of(values: Any) -> Any:
        values = list(values)
        return values[int(generator.integers(0, len(values)))]

    if 'enum' in part:
        return one_of(part['enum'])
    if 'anyOf' in part:
        return _value(one_of(part['anyOf']), schema, generator)
    if part.get('type') == 'array':
        items = part.get('prefixItems') or [part['items']] * one_of((0, 1, 2, 3, 4))
        return [_value(item, schema, generator) for item in items]
    if part.get('type') == 'object':
        return {one_of(('car', 'person', 'van')): one_of((1.0, 0.5, 'car', ''))}
    if part.get('type') in ('integer', 'number'):
        values = NUMBERS if part['type'] == 'integer' else PARTS
        low = part.get('minimum', part.get('exclusiveMinimum', 0))
        high = part.get('maximum', part.get('exclusiveMaximum', 1e9))
        return one_of([value for value in values if low <= value <= high])
    return {'boolean': one_of((True, False)), 'null': None}.get(part['type'], one_of(TEXTS))
