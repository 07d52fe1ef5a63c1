"""What is stored of an experiment: references for what came from the environment."""

import json
from pathlib import Path

from mnssd_training.config import (
    expand_stored,
    Experiment,
    fingerprint,
    load_experiment,
    to_stored,
)
from mnssd_training.errors import ConfigError
import pytest

ENVIRONMENT = {'TOKEN': 'hunter2hunter2', 'NUM': '3', 'PIN': '1234'}


def load(tmp_path: Path, text: str, *overrides: str) -> Experiment:
    path = tmp_path / 'own.yaml'
    path.write_text(f'experiment: {{id: own}}\n{text}\n')
    return load_experiment(path, overrides, ENVIRONMENT)


def test_without_variables_everything_is_stored_as_it_is() -> None:
    experiment = load_experiment('smoke', ['data.root=/data'])
    assert to_stored(experiment) == experiment.model_dump(mode='json')


@pytest.mark.parametrize(
    'root',
    [
        '${TOKEN}',
        's3://bucket/${TOKEN}/set',
        'https://me:${TOKEN}@host/set?token=${TOKEN}',
        '${TOKEN:-nothing}/a',
        '$${A}/${TOKEN}',
        '${PIN}',
    ],
)
def test_a_location_is_stored_as_it_was_written(tmp_path: Path, root: str) -> None:
    experiment = load(
        tmp_path,
        f"data: {{root: '{root}', more: [{{root: '{root}'}}]}}\n"
        f"logging: {{mlflow: '{root}'}}\ninitial: {{checkpoint: '{root}'}}",
    )
    stored = to_stored(experiment)
    assert 'hunter2' not in json.dumps(stored)
    assert stored['data']['root'] == stored['data']['more'][0]['root'] == root
    assert stored['logging']['mlflow'] == stored['initial']['checkpoint'] == root
    again = Experiment.model_validate(expand_stored(stored, ENVIRONMENT))
    assert again == experiment
    assert fingerprint(Experiment.model_validate(stored)) == fingerprint(experiment)


def test_what_changes_the_result_is_stored_by_value(tmp_path: Path) -> None:
    text = 'data: {root: a, classes: ["c${NUM}"]}\ntraining: {epochs: "${NUM}", workers: "${NUM}"}'
    experiment = load(tmp_path, text)
    stored = to_stored(experiment)
    assert stored['data']['classes'] == ['c3']
    assert stored['training']['epochs'] == stored['training']['workers'] == 3
    assert Experiment.model_validate(stored) == experiment


def test_a_literal_password_is_masked(tmp_path: Path) -> None:
    experiment = load(tmp_path, 'data: {root: "https://me:hush@host/a?sig=hush"}')
    assert experiment.data.root == 'https://me:hush@host/a?sig=hush'
    assert to_stored(experiment)['data']['root'] == 'https://me:***@host/a?sig=***'


def test_a_value_that_was_changed_since_is_stored_as_it_is(tmp_path: Path) -> None:
    experiment = load(tmp_path, 'data: {root: "/a/${TOKEN}"}')
    data = experiment.data.model_copy(update={'root': '/else'})
    assert to_stored(experiment.model_copy(update={'data': data}))['data']['root'] == '/else'


def test_a_missing_variable_is_named(tmp_path: Path) -> None:
    stored = to_stored(load(tmp_path, 'data: {root: "/a/${TOKEN}"}'))
    with pytest.raises(
        ConfigError, match=r'data\.root: the environment variable TOKEN is not set'
    ):
        expand_stored({'data': stored['data']}, {})


def test_a_plain_dollar_survives(tmp_path: Path) -> None:
    data = load(tmp_path, 'data: {root: a}').data.model_copy(update={'root': '/a/${B}'})
    stored = to_stored(load(tmp_path, 'data: {root: a}').model_copy(update={'data': data}))
    assert expand_stored(stored, {})['data']['root'] == '/a/${B}'
