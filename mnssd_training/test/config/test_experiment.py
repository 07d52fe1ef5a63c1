"""Experiments as values: typed, frozen and described."""

from collections.abc import Iterator
from typing import Any, get_args

from mnssd_perception.ssd import MatchingConfig
from mnssd_training.config import (
    Experiment,
    InvalidExperimentError,
    load_experiment,
    shipped_experiments,
)
from mnssd_training.config.sections import Section
from pydantic import ValidationError
import pytest


def sections(section: Any = Experiment) -> Iterator[type[Section]]:
    """Go through all sections, also those in lists."""
    if isinstance(section, type) and issubclass(section, Section):
        yield section
        for field in section.model_fields.values():
            yield from sections(field.annotation)
            for inner in get_args(field.annotation):
                yield from sections(inner)


@pytest.mark.parametrize('name', shipped_experiments())
def test_json_round_trip(name: str) -> None:
    experiment = load_experiment(name)
    assert experiment.experiment.id == name
    assert Experiment.model_validate_json(experiment.model_dump_json(), strict=True) == experiment


def test_every_key_is_described() -> None:
    assert len(set(sections())) > 14
    for section in sections():
        for name, field in section.model_fields.items():
            is_section = isinstance(field.annotation, type) and issubclass(
                field.annotation, Section
            )
            description = field.annotation.__doc__ if is_section else field.description
            assert (description or '').rstrip().endswith('.'), f'{section.__name__}.{name}'


def test_every_section_is_strict_and_frozen() -> None:
    for section in sections():
        assert section.model_config['extra'] == 'forbid'
        assert section.model_config['frozen'] is True


def test_an_experiment_cannot_be_changed() -> None:
    experiment = load_experiment('smoke')
    with pytest.raises(ValidationError):
        experiment.training.epochs = 2
    with pytest.raises(ValidationError):
        experiment.data = experiment.data


def test_only_id_and_root_are_required() -> None:
    required = [
        f'{section.__name__}.{name}'
        for section in dict.fromkeys(sections())
        for name, field in section.model_fields.items()
        if field.is_required()
    ]
    assert sorted(required) == [
        'DataConfig.root', 'Experiment.data', 'Experiment.experiment', 'ExperimentInfo.id',
        'SourceConfig.root',
    ]  # fmt: skip


def test_matching_config_is_shared_with_perception() -> None:
    assert isinstance(load_experiment('smoke').matching, MatchingConfig)


@pytest.mark.parametrize('name', ['', '-a', 'a b', 'a/b', '..', 'é', 'a\n'])
def test_id_is_a_valid_folder_name(name: str) -> None:
    plain = load_experiment('smoke').model_dump(mode='json')
    plain['experiment']['id'] = name
    with pytest.raises(ValidationError):
        Experiment.model_validate(plain)


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        (
            [],
            r'loss\.classification: expected quality_focal or varifocal with .* tal, got softmax',
        ),
        (
            ['loss.classification=varifocal', 'training.grad_accum_steps=2'],
            r'training\.grad_accum_steps: expected 1 with matching\.method tal, got 2',
        ),
    ],
)
def test_task_aligned_assignment_refuses_what_it_cannot_do(
    overrides: list[str], message: str
) -> None:
    with pytest.raises(InvalidExperimentError, match=message):
        load_experiment('smoke', ['matching.method=tal', *overrides])
    load_experiment('smoke', ['matching.method=tal', 'loss.classification=quality_focal'])
