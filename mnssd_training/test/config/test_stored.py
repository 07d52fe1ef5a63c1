"""Stored experiments: references instead of secrets, former key names."""

import json
from pathlib import Path

from mnssd_training.config import (
    expand_stored,
    Experiment,
    fingerprint,
    load_experiment,
    read_stored,
    to_stored,
)
from mnssd_training.config.fingerprint import relevant_keys
from mnssd_training.config.renamed import FORMER, RENAMED
from mnssd_training.config.validate import all_keys
from mnssd_training.errors import ConfigError
import pytest

ENVIRONMENT = {'TOKEN': 'hunter2hunter2', 'NUM': '3', 'PIN': '1234'}


def load(tmp_path: Path, text: str, *overrides: str) -> Experiment:
    path = tmp_path / 'own.yaml'
    path.write_text(f'experiment: {{id: own}}\n{text}\n')
    return load_experiment(path, overrides, ENVIRONMENT)


def test_values_without_references_are_stored_unchanged() -> None:
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
def test_location_keeps_its_reference(tmp_path: Path, root: str) -> None:
    experiment = load(
        tmp_path,
        f"data: {{root: '{root}', extra_sources: [{{root: '{root}'}}]}}\n"
        f"logging: {{mlflow: '{root}'}}\ninitial: {{checkpoint: '{root}'}}",
    )
    stored = to_stored(experiment)
    assert 'hunter2' not in json.dumps(stored)
    assert stored['data']['root'] == stored['data']['extra_sources'][0]['root'] == root
    assert stored['logging']['mlflow'] == stored['initial']['checkpoint'] == root
    assert fingerprint(read_stored(stored)) == fingerprint(experiment)
    if '://' not in root:
        assert Experiment.model_validate(expand_stored(stored, ENVIRONMENT)) == experiment


@pytest.mark.parametrize(
    ('key', 'value', 'reference'),
    [
        ('data.train_split', 'trainval', '${V}'),
        ('data.val_split', '', '${V:-}'),
        ('data.val_split', '/lists/val.txt', '${V}'),
        ('evaluation.monitor', 'ap', '${V}'),
        ('experiment.id', 'other', '${V}'),
        ('initial.backbone_weights', '', '${V:-}'),
        ('initial.backbone_weights', 'imagenet', '${V}'),
        ('initial.backbone_weights', 'a.pth', '${V}'),
        ('initial.checkpoint', '', '${V:-}'),
        ('initial.checkpoint', 'a.pt', '${V:-b.pt}'),
        ('model.backbone', 'timm/resnet18', '${V}'),
        ('training.accelerator', 'cpu', '${V}'),
    ],
)
def test_stored_experiment_has_the_fingerprint_of_the_original(
    key: str, value: str, reference: str
) -> None:
    experiment = load_experiment('smoke', [f'{key}={reference}'], {'V': value})
    literal = load_experiment('smoke', [f'{key}="{value}"'], {})
    assert experiment == literal
    stored = json.loads(json.dumps(to_stored(experiment)))
    assert relevant_keys(read_stored(stored)) == relevant_keys(literal)


def test_yolo_experiment_of_an_older_version_left_background_out() -> None:
    stored = to_stored(
        load_experiment(
            'smoke', ['data.format=yolo', 'data.extra_sources=[{root: a, format: yolo}]'], {}
        )
    )
    for source in (stored['data'], *stored['data']['extra_sources']):
        del source['use_background']
    data = read_stored(stored).data
    assert not data.use_background
    assert not data.extra_sources[0].use_background
    assert expand_stored(stored, {})['data'] == data.model_dump(mode='json')
    stored['data']['format'] = 'voc'
    assert read_stored(stored).data.use_background


def test_relevant_keys_are_stored_by_value(tmp_path: Path) -> None:
    text = 'data: {root: a, classes: ["c${NUM}"]}\ntraining: {epochs: "${NUM}", workers: "${NUM}"}'
    experiment = load(tmp_path, text)
    stored = to_stored(experiment)
    assert stored['data']['classes'] == ['c3']
    assert stored['training']['epochs'] == stored['training']['workers'] == 3
    assert Experiment.model_validate(stored) == experiment


def test_literal_password_is_masked(tmp_path: Path) -> None:
    experiment = load(tmp_path, 'data: {root: "https://me:hush@host/a?sig=hush"}')
    assert experiment.data.root == 'https://me:hush@host/a?sig=hush'
    assert to_stored(experiment)['data']['root'] == 'https://me:***@host/a?sig=***'


@pytest.mark.parametrize(
    ('text', 'masked'),
    [
        ('${DATA:-https://user:hush@h/d}', '${DATA}'),
        ('${DATA:-/data}/d', '${DATA:-/data}/d'),
        ('https://user:${PW:-hush}@h/${DIR:-d}', 'https://user:${PW}@h/${DIR:-d}'),
        ('https://${WHO:-user:}${PW:-hush}@h', 'https://${WHO:-user:}${PW}@h'),
        ('https://u:hush@h/${DIR}?token=${T}', 'https://u:***@h/${DIR}?token=${T}'),
        ('https://u:hush${PW}@h', 'https://u:***@h'),
        ('https://h/d?token=${T:-hush}', 'https://h/d?token=${T}'),
    ],
)
def test_literal_password_beside_references_is_masked(text: str, masked: str) -> None:
    environment = dict.fromkeys(('DATA', 'DIR', 'PW', 'T', 'WHO'), 'x')
    keys = ('data.root', 'data.train_split', 'data.val_split', 'initial.checkpoint')
    overrides = [f"{key}='{text}'" for key in keys]
    experiment = load_experiment('smoke', overrides, environment)
    stored = to_stored(experiment)
    assert 'hush' not in json.dumps(stored)
    assert stored['data']['root'] == masked
    assert fingerprint(read_stored(stored)) == fingerprint(experiment)


def test_changed_value_is_stored_unchanged(tmp_path: Path) -> None:
    experiment = load(tmp_path, 'data: {root: "/a/${TOKEN}"}')
    data = experiment.data.model_copy(update={'root': '/else'})
    assert to_stored(experiment.model_copy(update={'data': data}))['data']['root'] == '/else'


def test_missing_variable_is_reported(tmp_path: Path) -> None:
    stored = to_stored(load(tmp_path, 'data: {root: "/a/${TOKEN}"}'))
    with pytest.raises(
        ConfigError, match=r'data\.root: the environment variable TOKEN is not set'
    ):
        expand_stored({'data': stored['data']}, {})


@pytest.mark.parametrize(
    ('key', 'source'),
    [
        ('root', {'root': 'https://evil.invalid/${TOKEN}'}),
        ('root', {'root': 'https:/${NOTHING:-}/evil.invalid/${TOKEN}'}),
        ('root', {'root': '${ADDRESS}/${TOKEN}'}),
        ('train_split', {'root': 'https://evil.invalid', 'train_split': '${TOKEN}'}),
        (
            'extra_sources.0.val_split',
            {'root': 'a', 'extra_sources': [{'root': 's3://b', 'val_split': '${TOKEN}'}]},
        ),
    ],
)
def test_variable_in_an_address_is_refused(key: str, source: dict[str, object]) -> None:
    environment = {**ENVIRONMENT, 'ADDRESS': 'https://host.invalid'}
    with pytest.raises(
        ConfigError, match=rf'data\.{key}: expected an address without environment variables, got '
    ) as caught:
        expand_stored({'data': source}, environment)
    assert '${TOKEN}' in str(caught.value)
    assert 'hunter2' not in str(caught.value)


def test_variable_in_cache_dir_is_expanded() -> None:
    stored = {'data': {'root': 'https://host.invalid/a', 'cache_dir': '/tmp/${PIN}'}}
    assert expand_stored(stored, ENVIRONMENT)['data']['cache_dir'] == '/tmp/1234'


def test_escaped_reference_round_trip(tmp_path: Path) -> None:
    data = load(tmp_path, 'data: {root: a}').data.model_copy(update={'root': '/a/${B}'})
    stored = to_stored(load(tmp_path, 'data: {root: a}').model_copy(update={'data': data}))
    assert expand_stored(stored, {})['data']['root'] == '/a/${B}'


FORMER_NAMES = {
    'data': {
        'root': 'a',
        'cache': '/tmp/shards',
        'rename': {'car': 'vehicle', 'more': 'cache'},
        'more': [{'root': 'b', 'rename': {'van': ''}}],
    },
    'model': {'channels': 48, 'tap': 'block', 'width': 0.5, 'extra': 'plain'},
    'loss': {'classes': 'focal', 'boxes': 'giou', 'negatives': 2.0, 'box_weight': 2.0},
    'training': {'accumulate': 2, 'early_stop': 3},
}


def test_former_key_names_of_a_stored_experiment_are_read() -> None:
    experiment = read_stored({'experiment': {'id': 'old'}, **FORMER_NAMES})
    assert experiment.data.class_map == {'car': 'vehicle', 'more': 'cache'}
    assert experiment.data.extra_sources[0].class_map == {'van': ''}
    assert (experiment.model.pyramid_channels, experiment.model.width_mult) == (48, 0.5)
    assert (experiment.loss.classification, experiment.loss.localization) == ('focal', 'giou')
    assert experiment.training.grad_accum_steps == 2
    data = expand_stored({'data': FORMER_NAMES['data']}, {})['data']
    assert data['cache_dir'] == '/tmp/shards'


def test_former_key_names_map_to_existing_keys() -> None:
    keys = set(all_keys())
    for former, name in RENAMED.items():
        assert former not in keys
        assert f'{former.partition(".")[0]}.{name}' in keys
    assert len(FORMER) == len(RENAMED)
