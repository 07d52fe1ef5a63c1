"""
Store an experiment without the secrets of the environment.

A run folder, a checkpoint and a bundle go to other people and other machines. In the keys that say
where things are (``data.root``, ``logging``, ``initial`` and all that does not count for the
fingerprint) they hold ``${VAR}`` as it was written, and addresses without their passwords. The
keys that make the result what it is are stored with their values.
"""

from collections.abc import Mapping
import re
from typing import Any

from mnssd_perception.text import mask_secrets
from mnssd_training.config.environment import expand
from mnssd_training.config.experiment import Experiment, References
from mnssd_training.config.fingerprint import NEUTRAL

__all__ = ['expand_stored', 'to_stored']

KEYS = re.compile('|'.join(re.escape(key).replace(r'\*', r'\d+') for key in (*NEUTRAL, 'initial')))
VARIABLE = re.compile(r'\$\{[^}]*\}')

Path = tuple[str | int, ...]


def to_stored(experiment: Experiment) -> dict[str, Any]:
    """
    Turn an experiment into plain data for others.

    :param experiment: any.
    :return: the keys, as :class:`Experiment` validates them.
    """
    return dict(_stored(experiment.model_dump(mode='json'), experiment._references, ()))


def expand_stored(plain: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """
    Put environment variables into stored sections.

    :param plain: sections of an experiment, as :func:`to_stored` gives them.
    :param environment: of ``${VAR}``.
    :return: the sections.
    :raises ConfigError: naming the key and the variable that is not set.
    """
    return dict(_expanded(plain, environment, ()))


def _stored(value: Any, references: References, path: Path) -> Any:
    """Turn the values below a path."""
    if isinstance(value, Mapping):
        return {key: _stored(child, references, (*path, key)) for key, child in value.items()}
    if isinstance(value, list):
        return [_stored(child, references, (*path, place)) for place, child in enumerate(value)]
    if not (isinstance(value, str) and _is_stored_as_written(path)):
        return value
    reference, expanded = references.get(path, (None, None))
    if reference is None or str(expanded) != value:
        return mask_secrets(value.replace('${', '$${'))
    masked = mask_secrets(reference)
    # A reference in the place of a password is no secret, and is needed.
    return masked if VARIABLE.findall(masked) == VARIABLE.findall(reference) else reference


def _expanded(value: Any, environment: Mapping[str, str], path: Path) -> Any:
    """Put environment variables into the values below a path."""
    if isinstance(value, Mapping):
        return {key: _expanded(child, environment, (*path, key)) for key, child in value.items()}
    if isinstance(value, list):
        return [_expanded(child, environment, (*path, place)) for place, child in enumerate(value)]
    if not (isinstance(value, str) and _is_stored_as_written(path)):
        return value
    return expand(value, environment, '.'.join(map(str, path)))[0]


def _is_stored_as_written(path: Path) -> bool:
    """Tell whether a key, or a section that it is in, is one of :data:`KEYS`."""
    texts = list(map(str, path))
    return any(KEYS.fullmatch('.'.join(texts[:end])) for end in range(1, len(texts) + 1))
