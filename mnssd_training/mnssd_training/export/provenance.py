"""Collect the provenance of a bundle, without details of the computer."""

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
from mnssd_training.config.sections import Section
from mnssd_training.data.sample import Sample
import torch

PACKAGE = Path(__file__).resolve().parents[1]

# A split may be given as the path of its list.
SPLITS = ('train_split', 'val_split')


def dataset_digest(samples: Sequence[Sample]) -> str:
    """Compute the digest ``sha256:...`` of the names and annotations of samples, in any order."""
    digest = hashlib.sha256()
    for sample in sorted(samples, key=lambda sample: sample.name):
        arrays = (sample.boxes, sample.labels, sample.ignore, sample.ignore_labels)
        rows = [array.tolist() for array in arrays]
        digest.update(json.dumps([sample.name, sample.size, *rows]).encode())
    return f'sha256:{digest.hexdigest()}'


def public_experiment(experiment: dict[str, Any]) -> dict[str, Any]:
    """
    Reduce an experiment to what may be published: the last part of each path, and no loggers.

    A complete experiment gets its ``fingerprint``.
    """
    experiment = rename_keys(experiment)
    public = {key: value for key, value in experiment.items() if key != 'logging'}
    public = _without_folders(Experiment, public)
    try:
        return {'fingerprint': fingerprint(read_stored(experiment)), **public}
    except (TypeError, ValueError):  # of a network that was not trained here
        return public


def toolchain() -> dict[str, str]:
    """List the versions of the programs that export a network."""
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
    Find the commit of the training code, 40 hexadecimal digits.

    It is empty where the code is installed in somebody else's repository, or in none.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ['git', *arguments], cwd=package, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        top = Path(git('rev-parse', '--show-toplevel'))
        is_top_package = top / package.name / package.name == package
        return git('rev-parse', 'HEAD') if is_top_package else ''
    except (OSError, subprocess.CalledProcessError):
        return ''


def _without_folders(section: type[Section], plain: dict[str, Any]) -> dict[str, Any]:
    """Reduce each value that the schema calls a path to its last part."""
    public = dict(plain)
    for name, field in section.model_fields.items():
        value = plain.get(name)
        classes = (field.annotation, *get_args(field.annotation))
        sections = [cls for cls in classes if isinstance(cls, type) and issubclass(cls, Section)]
        extra = field.json_schema_extra
        is_path = name in SPLITS or (isinstance(extra, dict) and 'path' in extra)
        if is_path and isinstance(value, str):
            public[name] = _last_part(value)
        elif is_path and isinstance(value, list):
            public[name] = [_last_part(str(item)) for item in value]
        elif sections and isinstance(value, dict):
            public[name] = _without_folders(sections[0], value)
        elif sections and isinstance(value, list):
            public[name] = [_without_folders(sections[0], item) for item in value]
    return public


def _last_part(path: str) -> str:
    return re.split(r'[/\\]', mask_secrets(path).rstrip('/\\'))[-1]
