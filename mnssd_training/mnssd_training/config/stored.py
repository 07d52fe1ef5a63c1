"""
Experiments as plain data for run folders, checkpoints and bundles, without secrets.

These files go to other people and machines. Keys with locations, and the free text about an
experiment, are stored with ``${VAR}`` as written, and addresses without their passwords. All
other keys are stored with their values. A stored experiment is valid and has the fingerprint of
the original, so a location is stored with its value where its reference would change the
fingerprint (``${WEIGHTS}`` that is ``imagenet``).

A stored experiment may come from a stranger: variables are never inserted into an address, which
would send their values to a host of the stranger's choice.
"""

from collections.abc import Mapping
import re
from typing import Any

from mnssd_perception.text import mask_secrets, sanitize_text
from mnssd_training.config.environment import expand, REFERENCE, REFERENCES
from mnssd_training.config.experiment import Experiment
from mnssd_training.config.fingerprint import reduce_location
from mnssd_training.config.renamed import rename_keys
from mnssd_training.config.yaml_tree import dotted, find, Node, Path
from mnssd_training.errors import ConfigError

# The keys that keep their references.
LOCATIONS = re.compile(
    r'data\.(cache_dir|hard_negatives)|data(\.extra_sources\.\d+)?\.(root|train_split|val_split)'
    r'|distillation\.teachers\.\d+'
    r'|experiment\.(author|description|name|tags\.\d+)'
    r'|export\.quantization\.calibration_images'
    r'|initial\.(backbone_weights|checkpoint)'
    r'|logging\.(mlflow|root|wandb)'
)
ADDRESS = ('root', 'train_split', 'val_split')  # these together are an address
# Lone surrogates, which no text in UTF-8 has, replace references while secrets are masked.
PLACEHOLDERS = '[\ud800-\udfff]+'


def to_stored(experiment: Experiment) -> dict[str, Any]:
    """Convert an experiment to plain data without secrets."""
    return dict(_to_stored(experiment.model_dump(mode='json'), experiment._tree, ()))


def read_stored(plain: Mapping[str, Any]) -> Experiment:
    """
    Read a stored experiment, also of an older version, with its references as they are.

    :raises ValueError: if it is invalid in this version.
    """
    return Experiment.model_validate(_upgrade(plain))


def expand_stored(plain: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """
    Insert environment variables into stored sections.

    :raises ConfigError: naming the key and the variable that is not set, or the key of an address
        with a variable.
    """
    return dict(_expand(_upgrade(plain), environment, ()))


def _upgrade(plain: Any) -> Any:
    """Rename the keys of older versions, and add the key that they did not have."""
    plain = rename_keys(plain)  # a copy
    data = plain.get('data') if isinstance(plain, dict) else None
    extra_sources = data.get('extra_sources') if isinstance(data, dict) else None
    for source in (data, *(extra_sources if isinstance(extra_sources, list) else ())):
        # Without this key, YOLO datasets were trained without their background images.
        if isinstance(source, dict) and source.get('format') == 'yolo':
            source.setdefault('use_background', False)
    return plain


def _to_stored(value: Any, tree: Node, path: Path) -> Any:
    if isinstance(value, Mapping):
        return {key: _to_stored(child, tree, (*path, key)) for key, child in value.items()}
    if isinstance(value, list):
        return [_to_stored(item, tree, (*path, i)) for i, item in enumerate(value)]
    key = dotted(path)
    if not (isinstance(value, str) and LOCATIONS.fullmatch(key)):
        return value
    node = find(tree, path)
    if node.reference is not None and node.text == value:
        masked = _mask_reference(node.reference)
        if reduce_location(key, masked) == reduce_location(key, value):
            return masked
    return mask_secrets(value.replace('${', '$${'))


def _mask_reference(text: str) -> str:
    """
    Mask the secrets in a text with references.

    A reference that stands for a password is kept, but not its default, which is a secret.
    """
    references: dict[int, re.Match[str]] = {}

    def replace(match: re.Match[str]) -> str:
        reference = REFERENCE.fullmatch(match.group())
        if not reference:
            return match.group()
        placeholder = 0xD800 + len(references)
        references[placeholder] = reference
        return chr(placeholder)

    bare = REFERENCES.sub(replace, text)
    masked = mask_secrets(bare, PLACEHOLDERS)
    texts = {key: f'${{{reference["name"]}}}' for key, reference in references.items()}
    defaults: dict[int, str] = {}
    for placeholder, reference in references.items():
        if reference['or_else']:
            # A default is kept if masking the text with it masks nothing more.
            trial = {**defaults, placeholder: reference['default']}
            if mask_secrets(bare.translate(trial), PLACEHOLDERS) == masked.translate(trial):
                defaults = trial
                texts[placeholder] = reference.group()
    return masked.translate(texts)


def _expand(value: Any, environment: Mapping[str, str], path: Path) -> Any:
    if isinstance(value, Mapping):
        _check_addresses(value, value, path)
        expanded = {key: _expand(child, environment, (*path, key)) for key, child in value.items()}
        _check_addresses(value, expanded, path)
        return expanded
    if isinstance(value, list):
        return [_expand(item, environment, (*path, i)) for i, item in enumerate(value)]
    if not (isinstance(value, str) and LOCATIONS.fullmatch(dotted(path))):
        return value
    return expand(value, environment, dotted(path))[0]


def _check_addresses(keys: Mapping[str, Any], expanded: Mapping[str, Any], path: Path) -> None:
    """Refuse a variable in an address, as it is written and as it would become."""
    for name, text in keys.items():
        key = dotted((*path, name))
        if not (isinstance(text, str) and LOCATIONS.fullmatch(key)):
            continue
        has_reference = any(match != '$${' for match in REFERENCES.findall(text))
        names = ADDRESS if name in ADDRESS else (name,)
        parts = [str(section.get(part)) for part in names for section in (keys, expanded)]
        if has_reference and any('://' in part for part in parts):
            raise ConfigError(
                f'{key}: expected an address without environment variables, '
                f'got {sanitize_text(text)!r}; their values are not sent to an address that is '
                f'read from a file'
            )
