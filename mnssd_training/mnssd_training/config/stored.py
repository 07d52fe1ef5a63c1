"""
Store an experiment without the secrets of the environment, and read it again.

A run folder, a checkpoint and a bundle go to other people and other machines. Keys that say where
things are, and the free text about an experiment, hold ``${VAR}`` as it was written, and addresses
without their passwords. All other keys are stored with their values. A stored experiment is valid
as it is and has the fingerprint of the original, so a location is also stored with its value
where the reference would count as something else (``${WEIGHTS}`` that is ``imagenet``).

What is stored comes back from strangers: a variable is never put into an address, where its value
would be sent to a host that the file chooses.
"""

from collections.abc import Mapping
import re
from typing import Any

from mnssd_perception.text import mask_secrets, sanitize_text
from mnssd_training.config.environment import expand, INSIDE, PATTERN
from mnssd_training.config.experiment import Experiment, References
from mnssd_training.config.fingerprint import reduce_location
from mnssd_training.config.renamed import rename_keys
from mnssd_training.errors import ConfigError

KEYS = re.compile(
    r'data\.cache_dir|data(\.extra_sources\.\d+)?\.(root|train_split|val_split)'
    r'|experiment\.(author|description|name|tags\.\d+)'
    r'|initial\.(backbone_weights|checkpoint)'
    r'|logging\.(mlflow|root|wandb)'
)
# These together are an address.
ADDRESS = ('root', 'train_split', 'val_split')
# Lone surrogates stand for references while secrets are masked: no text in UTF-8 has them.
PLACEHOLDER = '[\ud800-\udfff]+'

Path = tuple[str | int, ...]


def to_stored(experiment: Experiment) -> dict[str, Any]:
    """
    Turn an experiment into plain data for others.

    :param experiment: any.
    :return: the keys, as :class:`Experiment` validates them.
    """
    return dict(_stored(experiment.model_dump(mode='json'), experiment._references, ()))


def read_stored(plain: Mapping[str, Any]) -> Experiment:
    """
    Read a stored experiment to compare it, with its references as they are.

    :param plain: the keys, as :func:`to_stored` gives them, or did in an older version.
    :return: an experiment with the fingerprint of the one that was stored.
    :raises ValueError: if it is none of this version of mnssd.
    """
    plain = rename_keys(plain)
    if isinstance(plain, Mapping) and 'data' in plain:
        plain = {**plain, 'data': _with_background(plain['data'])}
    return Experiment.model_validate(plain)


def expand_stored(plain: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """
    Put environment variables into stored sections.

    :param plain: sections of an experiment, as :func:`to_stored` gives them.
    :param environment: of ``${VAR}``.
    :return: the sections.
    :raises ConfigError: naming the key and the variable that is not set, or the key of an address
        with a variable.
    """
    expanded = dict(_expanded(rename_keys(plain), environment, ()))
    if 'data' in expanded:
        expanded['data'] = _with_background(expanded['data'])
    return expanded


def _with_background(data: Any) -> Any:
    """Add the key that older versions did not have: in YOLO, they left background images out."""
    if not isinstance(data, Mapping):
        return data
    complete = dict(data)
    if data.get('format') == 'yolo':
        complete.setdefault('use_background', False)
    if isinstance(data.get('extra_sources'), list):
        complete['extra_sources'] = [_with_background(source) for source in data['extra_sources']]
    return complete


def _stored(value: Any, references: References, path: Path) -> Any:
    """Turn the values below a path."""
    if isinstance(value, Mapping):
        return {key: _stored(child, references, (*path, key)) for key, child in value.items()}
    if isinstance(value, list):
        return [_stored(child, references, (*path, place)) for place, child in enumerate(value)]
    key = _dotted(path)
    if not (isinstance(value, str) and KEYS.fullmatch(key)):
        return value
    reference, expanded = references.get(path, (None, None))
    if reference is not None and str(expanded) == value:
        masked = _mask_reference(reference)
        if reduce_location(key, masked) == reduce_location(key, value):
            return masked
    return mask_secrets(value.replace('${', '$${'))


def _mask_reference(text: str) -> str:
    """
    Mask the secrets of a text with references.

    A reference in the place of a password is no secret, and is needed; its default there is one.
    """
    names: dict[str, str] = {}
    defaults: dict[str, str] = {}

    def replace(found: re.Match[str]) -> str:
        inside = INSIDE.fullmatch(found.group())
        if not inside:
            return found.group()
        placeholder = chr(0xD800 + len(names))
        names[placeholder] = inside['name']
        if inside['or_else']:
            defaults[placeholder] = inside['default']
        return placeholder

    bare = PATTERN.sub(replace, text)
    masked = mask_secrets(bare, PLACEHOLDER)
    kept: dict[int, str] = {}
    for placeholder, default in defaults.items():
        trial = {**kept, ord(placeholder): default}
        if mask_secrets(bare.translate(trial), PLACEHOLDER) == masked.translate(trial):
            kept = trial
    return masked.translate(
        {
            ord(placeholder): f'${{{name}:-{kept[ord(placeholder)]}}}'
            if ord(placeholder) in kept
            else f'${{{name}}}'
            for placeholder, name in names.items()
        }
    )


def _expanded(value: Any, environment: Mapping[str, str], path: Path) -> Any:
    """Put environment variables into the values below a path."""
    if isinstance(value, Mapping):
        _check_address(value, value, path)
        expanded = {
            key: _expanded(child, environment, (*path, key)) for key, child in value.items()
        }
        _check_address(value, expanded, path)
        return expanded
    if isinstance(value, list):
        return [_expanded(child, environment, (*path, place)) for place, child in enumerate(value)]
    if not (isinstance(value, str) and KEYS.fullmatch(_dotted(path))):
        return value
    return expand(value, environment, _dotted(path))[0]


def _check_address(section: Mapping[str, Any], expanded: Mapping[str, Any], path: Path) -> None:
    """Refuse a variable in an address, as it is written or as it would become."""
    for name, text in section.items():
        key = _dotted((*path, name))
        if not (isinstance(text, str) and KEYS.fullmatch(key) and _has_reference(text)):
            continue
        names = ADDRESS if name in ADDRESS else (name,)
        parts = [str(texts.get(part)) for part in names for texts in (section, expanded)]
        if any('://' in part for part in parts):
            raise ConfigError(
                f'{key}: expected an address without environment variables, '
                f'got {sanitize_text(text)!r}; their values are not sent to an address that is '
                f'read from a file'
            )


def _has_reference(text: str) -> bool:
    """Tell whether a text has a reference to an environment variable."""
    return any(found != '$${' for found in PATTERN.findall(text))


def _dotted(path: Path) -> str:
    """Write the path of a key with dots."""
    return '.'.join(map(str, path))
