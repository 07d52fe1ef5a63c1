"""A training run to what a bundle tells of its origin, and nothing of a computer."""

from collections.abc import Sequence
import hashlib
import json
from pathlib import Path
import platform
import re
import subprocess
from typing import Any, get_args

from mnssd_perception.text import mask_secrets
from mnssd_training.config import Experiment, read_stored, rename_keys
from mnssd_training.config.fingerprint import fingerprint
from mnssd_training.config.section import Section
from mnssd_training.data.sample import Sample
import torch

PACKAGE = Path(__file__).resolve().parents[1]

# A split may be given as the path of its list.
SPLITS = ('train_split', 'val_split')


def dataset_digest(samples: Sequence[Sample]) -> str:
    """
    Name a training set by its names and annotations.

    :param samples: the set, in any order.
    :return: ``sha256:`` and 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for sample in sorted(samples, key=lambda sample: sample.name):
        arrays = (sample.boxes, sample.labels, sample.ignore, sample.ignore_labels)
        rows = [array.tolist() for array in arrays]
        digest.update(json.dumps([sample.name, sample.size, *rows]).encode())
    return f'sha256:{digest.hexdigest()}'


def told_experiment(experiment: dict[str, Any]) -> dict[str, Any]:
    """
    Keep of an experiment what others may know: of each path its last part, and no loggers.

    :param experiment: as plain data.
    :return: the same, with its ``fingerprint`` where it is a whole experiment.
    """
    experiment = rename_keys(experiment)
    told = {key: value for key, value in experiment.items() if key != 'logging'}
    told = _without_folders(Experiment, told)
    try:
        whole = read_stored(experiment)
    except (TypeError, ValueError):  # of a network that was not trained here
        return told
    return {'fingerprint': fingerprint(whole), **told}


def toolchain() -> dict[str, str]:
    """Name the programs that made the network."""
    import onnx
    import torchvision

    return {
        'python': platform.python_version(),
        'torch': torch.__version__.split('+')[0],
        'torchvision': torchvision.__version__.split('+')[0],
        'onnx': onnx.__version__,
    }


def git_commit(package: Path = PACKAGE) -> str:
    """
    Name the commit of the training code.

    :param package: folder of the code.
    :return: 40 hexadecimal digits; empty where the code is not in a repository of its own, as
        when it is installed in somebody else's.
    """

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ['git', *arguments], cwd=package, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        top = Path(git('rev-parse', '--show-toplevel'))
        is_own = top / package.name / package.name == package
        return git('rev-parse', 'HEAD') if is_own else ''
    except (OSError, subprocess.CalledProcessError):
        return ''


def _without_folders(kind: type[Section], plain: dict[str, Any]) -> dict[str, Any]:
    """Keep the last part of each value that the schema calls a path."""
    told = dict(plain)
    for name, field in kind.model_fields.items():
        value = plain.get(name)
        inner = _section(field.annotation)
        extra = field.json_schema_extra
        is_path = name in SPLITS or (isinstance(extra, dict) and 'path' in extra)
        if is_path and isinstance(value, str):
            told[name] = re.split(r'[/\\]', mask_secrets(value).rstrip('/\\'))[-1]
        elif inner and isinstance(value, dict):
            told[name] = _without_folders(inner, value)
        elif inner and isinstance(value, list):
            told[name] = [_without_folders(inner, one) for one in value]
    return told


def _section(annotation: Any) -> type[Section] | None:
    """Find the section that a field holds, once or in a list."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None
