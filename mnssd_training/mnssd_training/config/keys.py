"""The schema of an experiment to the keys that it knows."""

from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from typing import Any, get_args, get_type_hints

from mnssd_training.config.experiment import Experiment
from mnssd_training.config.renamed import RENAMED
from mnssd_training.config.section import Section
from mnssd_training.config.suggest import did_you_mean


def known_keys(kind: Any = Experiment, where: str = '') -> Iterator[str]:
    """Go through all keys below a section, as dotted paths."""
    for name, inner in _members(kind).items():
        yield f'{where}{name}'
        yield from known_keys(inner, f'{where}{name}.')


def right_key(path: Sequence[str | int]) -> str:
    """
    Suggest what an unknown key should have been.

    :param path: of the key; places in lists are numbers.
    :return: the end of a sentence: a like key of the same section, the section that has such a
        key, or all keys of the section.
    """
    kind: Any = Experiment
    for step in path[:-1]:
        kind = (
            next(iter(get_args(kind)), None)
            if isinstance(step, int)
            else _members(kind).get(str(step))
        )
    # An entry of a list of sections has the keys of the section that holds the list.
    former = RENAMED.get(f'{path[0]}.{path[-1]}')
    if former in _members(kind):
        return f'it is now {".".join(map(str, (*path[:-1], former)))!r}'
    section = ''.join(f'{step}.' for step in path[:-1])
    hint = did_you_mean(str(path[-1]), _members(kind), section)
    if hint.startswith('did'):
        return hint
    elsewhere = [key for key in known_keys() if key.rpartition('.')[2] == path[-1]]
    return f'did you mean {elsewhere[0]!r}?' if elsewhere else hint


def _members(kind: Any) -> dict[str, Any]:
    """List the keys of a section with their types; nothing else has any."""
    if isinstance(kind, type) and issubclass(kind, Section):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return get_type_hints(kind)
    return {}
