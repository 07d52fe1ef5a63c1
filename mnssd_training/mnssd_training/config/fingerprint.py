"""
An experiment to twelve hexadecimal digits that stand for all that changes its result.

Two experiments of one fingerprint train the same network, on whatever machine, by whoever, and
however their files were written. Where photographs and weights lie is left out, and so is what is
kept, logged or scored on the way, and how many processes share the work.
"""

from collections.abc import Mapping
import hashlib
import json
from pathlib import PurePosixPath
from typing import Any

from mnssd_training.config.experiment import Experiment
from pydantic_core import to_jsonable_python

__all__ = ['fingerprint', 'NEUTRAL', 'what_counts']

# The meaning of the hash: another number when the same keys come to mean something else.
VERSION = 1

# What changes nothing of the result but where it is, what is kept of it, and how fast it is there.
NEUTRAL = (
    'experiment',
    'data.cache',
    'data.more.*.root',
    'data.root',
    'training.accelerator',
    'training.channels_last',
    'training.compile',
    'training.deterministic',
    'training.devices',
    'training.gradient_checkpointing',
    'training.nodes',
    'training.workers',
    'evaluation',
    'checkpoint',
    'logging',
)

# Keys that came later count where they are not at the value that says what was always done, so
# that older experiments keep their fingerprints.
ADDED = {'data.use_background': True, 'data.more.*.use_background': True}

# A split counts by its name, wherever the list of that name lies.
SPLITS = ('train_split', 'val_split')


def fingerprint(experiment: Experiment) -> str:
    """
    Tell experiments apart by their results.

    :param experiment: any.
    :return: the first 12 hexadecimal digits of a SHA-256.
    """
    text = json.dumps(
        {'version': VERSION, **what_counts(experiment)}, sort_keys=True, separators=(',', ':')
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def what_counts(experiment: Experiment) -> dict[str, Any]:
    """List the keys that change the result, as plain data."""
    counted = _counted(to_jsonable_python(experiment), '')
    weights = experiment.initial.backbone_weights
    counted['initial'] = {
        'backbone_weights': weights if weights in ('', 'imagenet') else 'given',
        'checkpoint': 'given' if experiment.initial.checkpoint else '',
    }
    return dict(counted)


def _counted(value: Any, path: str) -> Any:
    """Leave out what is neutral; -0.0 is 0.0."""
    if isinstance(value, Mapping):
        return {
            key: _split_name(child) if key in SPLITS else _counted(child, inner)
            for key, child in value.items()
            if (inner := f'{path}.{key}' if path else key) not in NEUTRAL
            and not (inner in ADDED and child == ADDED[inner])
        }
    if isinstance(value, list):
        return [_counted(child, f'{path}.*') for child in value]
    return value + 0.0 if isinstance(value, float) else value


def _split_name(split: str) -> str:
    """Name a split that may be given as the path of its list."""
    return PurePosixPath(split).name.removesuffix('.txt').removesuffix('.json')
