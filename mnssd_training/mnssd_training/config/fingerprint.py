"""
An experiment to twelve hexadecimal digits that stand for all that changes its result.

Two experiments of one fingerprint train the same network, on whatever machine, by whoever, and
however their files were written. Where images and weights lie is left out, and so is what is
kept, logged or scored on the way, and how many processes share the work.
"""

from collections.abc import Mapping
import hashlib
import json
from pathlib import PurePosixPath
from typing import Any

from mnssd_perception.text import mask_secrets
from mnssd_training.config.experiment import Experiment
from mnssd_training.config.renamed import FORMER, rename_keys
from pydantic_core import to_jsonable_python

# The meaning of the hash: another number when the same keys come to mean something else.
VERSION = 1

# What changes nothing of the result but where it is, what is kept of it, and how fast it is there.
NEUTRAL = (
    'experiment',
    'data.cache_dir',
    'data.extra_sources.*.root',
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

# Background images were left out of YOLO datasets before there was a key for them, and used in
# all others.
USE_BACKGROUND = ('data.use_background', 'data.extra_sources.*.use_background')

# A split counts by its name, wherever the list of that name lies.
SPLITS = ('train_split', 'val_split')


def fingerprint(experiment: Experiment) -> str:
    """
    Tell experiments apart by their results.

    :param experiment: any.
    :return: the first 12 hexadecimal digits of a SHA-256.
    """
    keys = rename_keys(what_counts(experiment), FORMER)
    text = json.dumps({'version': VERSION, **keys}, sort_keys=True, separators=(',', ':'))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def what_counts(experiment: Experiment) -> dict[str, Any]:
    """List the keys that change the result, as plain data."""
    return dict(_counted(to_jsonable_python(experiment), ''))


def reduce_location(key: str, text: str) -> str:
    """
    Reduce the text of a location to the part that changes the result.

    :param key: dotted path of the key, with any numbers of list items.
    :param text: a path, an address or the name of a split.
    :return: the name of a split, whether and which initial weights are given, else nothing.
    """
    section, _, name = key.rpartition('.')
    if name in SPLITS:
        path = PurePosixPath(mask_secrets(text))
        return path.name.removesuffix('.txt').removesuffix('.json')
    if section != 'initial' or not text:
        return ''
    return text if (name, text) == ('backbone_weights', 'imagenet') else 'given'


def _counted(value: Any, path: str) -> Any:
    """Leave out what is neutral; -0.0 is 0.0."""
    if isinstance(value, Mapping):
        return {
            key: (
                reduce_location(inner, child)
                if key in SPLITS or path == 'initial'
                else _counted(child, inner)
            )
            for key, child in value.items()
            if (inner := f'{path}.{key}' if path else key) not in NEUTRAL
            # Only the other value counts, so that older experiments keep their fingerprints.
            and not (inner in USE_BACKGROUND and child == (value['format'] != 'yolo'))
        }
    if isinstance(value, list):
        return [_counted(child, f'{path}.*') for child in value]
    return value + 0.0 if isinstance(value, float) else value
