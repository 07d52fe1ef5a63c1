"""The JSON schema accepts and refuses what the configuration does."""

from collections.abc import Callable
import json
from typing import Any

from mnssd_training.config import Experiment, json_schema, shipped_experiments
from mnssd_training.config.compose import COMPONENTS, EXPERIMENTS, shipped_components
from mnssd_training.config.yaml_tree import read_yaml, to_plain
import pytest

Fits = Callable[[Any], bool]


@pytest.fixture(scope='module')
def fits() -> Fits:
    """Validate by the schema; this validator does not support tuple types."""
    fastjsonschema = pytest.importorskip('fastjsonschema')
    check = fastjsonschema.compile(json_schema())

    def fits_schema(plain: Any) -> bool:
        try:
            check(plain)
        except fastjsonschema.JsonSchemaValueException:
            return False
        return True

    return fits_schema


def test_schema_is_json() -> None:
    assert json.loads(json.dumps(json_schema())) == json_schema()


def test_no_key_is_required(fits: Fits) -> None:
    assert fits({})


@pytest.mark.parametrize('name', shipped_experiments())
def test_shipped_experiments_are_valid(fits: Fits, name: str) -> None:
    text = (EXPERIMENTS / f'{name}.yaml').read_text()
    assert fits(to_plain(read_yaml(text, name)))


@pytest.mark.parametrize('name', shipped_components())
def test_shipped_components_are_valid(fits: Fits, name: str) -> None:
    plain = to_plain(read_yaml((COMPONENTS / name).read_text(), name))
    assert fits({name.partition('/')[0]: plain})


@pytest.mark.parametrize(
    'plain',
    [
        {'_base_': 'smoke'},
        {'_base_': ['smoke', 'own.yaml']},
        {'defaults': {'optimizer': 'optimizer/sgd.yaml', 'model': 'own.yaml'}},
        {'overrides': {'training': {'epochs': 3}}},
        {'training': {'epochs': '${EPOCHS:-3}', 'compile': '${COMPILE:-no}'}},
        {'optimizer': {'name': '${NAME}'}, 'input': {'size': ['${H}', 96], 'train_size': None}},
        {'matching': {'positive_iou': 0.5}},
    ],
)
def test_valid_experiments_pass(fits: Fits, plain: Any) -> None:
    assert fits(plain)


@pytest.mark.parametrize(
    'plain',
    [
        {'trainning': {}},
        {'training': {'epoch': 3}},
        {'training': {'epochs': 'many'}},
        {'training': {'epochs': 0}},
        {'overrides': {'training': {'epochs': 0}}},
        {'optimizer': {'name': 'adam'}},
        {'matching': {'positive': 0.5}},
        {'defaults': {'optimiser': 'a.yaml'}},
        {'defaults': {'optimizer': 3}},
        {'input': {'size': [1, 2, 3]}},
        {'_base_': 3},
    ],
)
def test_invalid_experiments_fail(fits: Fits, plain: Any) -> None:
    assert not fits(plain)


def test_every_key_is_described() -> None:
    for name, definition in json_schema()['$defs'].items():
        for key, schema in definition['properties'].items():
            assert schema.get('description'), f'{name}.{key}'


def test_schema_has_all_sections() -> None:
    assert set(Experiment.model_fields) < set(json_schema()['properties'])
