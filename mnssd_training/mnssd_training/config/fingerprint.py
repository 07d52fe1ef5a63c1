"""
Fingerprints of experiments.

Two experiments with one fingerprint train the same network, on any machine and however their
files are written. The fingerprint leaves out the locations of images and weights, what is kept,
logged or evaluated on the way, and how many processes share the work.
"""

from collections.abc import Mapping
from functools import reduce
import hashlib
import json
from operator import getitem
from pathlib import PurePosixPath
from typing import Any

from mnssd_perception.text import mask_secrets
from mnssd_training.config.experiment import Experiment
from mnssd_training.config.renamed import FORMER, rename_keys
from mnssd_training.config.sections import DataConfig, ExperimentInfo
from pydantic_core import to_jsonable_python

# Increases when the same keys get another meaning.
VERSION = 1

# Keys that do not change the trained weights.
NEUTRAL = (
    'experiment',
    'data.cache_dir',
    'data.extra_sources.*.root',
    'data.hard_negatives',
    'data.root',
    'training.accelerator',
    'training.channels_last',
    'training.compile',
    'training.deterministic',
    'training.devices',
    'training.gradient_checkpointing',
    'training.image_cache_gib',
    'training.nodes',
    'training.workers',
    'evaluation',
    'checkpoint',
    'logging',
    'export',
)

# Before these keys existed, background images of YOLO datasets were left out, all others used.
USE_BACKGROUND = ('data.use_background', 'data.extra_sources.*.use_background')
# Keys that came later: only another value than the default counts.
ADDED = (
    'initial.recalibrate_norm',
    'priors.seed',
    'data.sampling',
    'augmentation.copy_paste',
    'augmentation.copy_paste_max_objects',
    'augmentation.copy_paste_max_size',
    'augmentation.gamma',
    'augmentation.hard_negative_crop',
    'augmentation.object_tone',
    'augmentation.object_tone_range',
    'augmentation.blur',
    'augmentation.noise',
    'matching.method',
    'matching.atss_candidates',
    'matching.tal_topk',
    'matching.tal_alpha',
    'matching.tal_beta',
)
DEFAULTS = to_jsonable_python(
    Experiment(experiment=ExperimentInfo(id='default'), data=DataConfig(root='default'))
)
SPLITS = ('train_split', 'val_split')


def fingerprint(experiment: Experiment) -> str:
    """Return the first 12 hexadecimal digits of a SHA-256 over the keys that change the result."""
    keys = rename_keys(relevant_keys(experiment), FORMER)
    text = json.dumps({'version': VERSION, **keys}, sort_keys=True, separators=(',', ':'))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def relevant_keys(experiment: Experiment) -> dict[str, Any]:
    """Return the keys that change the result, as plain data."""
    return dict(_reduce(to_jsonable_python(experiment), ''))


def reduce_location(key: str, text: str) -> str:
    """
    Reduce a location to the part that changes the result.

    This is the name of a split, or whether and which initial weights are given, else nothing.
    """
    section, _, name = key.rpartition('.')
    if name in SPLITS:
        path = PurePosixPath(mask_secrets(text))
        return path.name.removesuffix('.txt').removesuffix('.json')
    if section != 'initial' or not text:
        return ''
    return text if (name, text) == ('backbone_weights', 'imagenet') else 'given'


def _reduce(value: Any, path: str) -> Any:
    if path == 'distillation.teachers.*':
        return 'given'
    if isinstance(value, list):
        return [_reduce(item, f'{path}.*') for item in value]
    if not isinstance(value, Mapping):
        return value + 0.0 if isinstance(value, float) else value  # -0.0 is 0.0
    reduced = {}
    for key, child in value.items():
        inner = f'{path}.{key}' if path else key
        # Only the other value counts, so that older experiments keep their fingerprints.
        is_default = (
            (inner in USE_BACKGROUND and child == (value['format'] != 'yolo'))
            or (inner == 'qat' and not child['enabled'])
            or (inner == 'distillation' and not child['teachers'])
            or (inner in ADDED and child == reduce(getitem, inner.split('.'), DEFAULTS))
        )
        if inner in NEUTRAL or is_default:
            continue
        is_location = key in SPLITS or (path == 'initial' and isinstance(child, str))
        reduced[key] = reduce_location(inner, child) if is_location else _reduce(child, inner)
    return reduced
