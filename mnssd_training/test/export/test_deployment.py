"""Deployments: what a file, a checkpoint and the command line say of an export."""

from pathlib import Path
import re
from typing import Any

from mnssd_perception.bundle import open_bundle, shipped_bundle_path
from mnssd_perception.ssd import Thresholds
from mnssd_training.config import ModelConfig
from mnssd_training.config.yaml_tree import from_plain
from mnssd_training.errors import ConfigError
from mnssd_training.export import (
    compose_deployment,
    Deployment,
    ExportSource,
    open_source,
    read_deployment_file,
    validate_deployment,
)
from mnssd_training.train import Checkpoint
import pytest

ROOT = Path(__file__).parents[3]
STORED = {'data': {'root': '${DATA}', 'val_split': 'test'}, 'export': {'gate': {'min_map50': 0.2}}}
FILE = {'name': 'a', 'version': '1', 'checkpoint': 'a.pt'}


def source(**known: Any) -> ExportSource:
    spec: Any = None
    return ExportSource(Checkpoint(spec, ModelConfig(), {}, {}, None, 0, {}), known, {})


def compose(*overrides: str, known: Any = STORED, file: Any = FILE, **env: str) -> Deployment:
    layers = [from_plain(file, 'deploy.yaml')]
    return validate_deployment(compose_deployment(source(**known), layers, overrides, env))


def test_later_sources_win() -> None:
    deployment = compose(DATA='/data')
    assert (deployment.data.root, deployment.data.val_split) == ('/data', 'test')
    assert deployment.export.gate.min_map50 == 0.2
    assert deployment.thresholds == Thresholds()
    file = {**FILE, 'export': {'gate': {'min_map50': 0.3, 'max_drop_int8': 2}}}
    gate = compose('export.gate.max_drop_int8=0.5', file=file, DATA='/data').export.gate
    assert (gate.min_map50, gate.max_drop_int8, gate.max_drop_fp16) == (0.3, 0.5, 0.1)


def test_variable_of_the_checkpoint_that_is_replaced_need_not_be_set() -> None:
    with pytest.raises(ConfigError, match='environment variable DATA is not set'):
        compose()
    assert compose('data.root=/here').data.root == '/here'
    assert compose(file={**FILE, 'data': {'root': '/here'}}).data.val_split == 'test'


def test_checkpoint_of_a_stranger_learns_no_variables() -> None:
    for root in ('https://evil.invalid/${TOKEN}', 'https://evil.invalid/$${TOKEN}'):
        try:
            deployment = compose(known={'data': {'root': root}}, TOKEN='hunter2')
        except ConfigError as error:
            assert 'hunter2' not in str(error)
        else:
            assert 'hunter2' not in deployment.model_dump_json()


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        ({'exprot': {}}, "deploy.yaml: unknown key 'exprot'; did you mean 'export'?"),
        (
            {'export': {'gate': {'min_map': 1}}},
            "unknown key 'export.gate.min_map'; did you mean 'export.gate.min_map50'?",
        ),
        ({'export': {'artefacts': ['int8']}}, 'with fp32 among them'),
        ({'export': {'artefacts': ['fp32', 'fp8']}}, 'export.artefacts.1: expected'),
        ({'thresholds': {'score': 7}}, 'score_threshold: expected more than 0'),
        ({'name': 'two words'}, 'name: expected text like'),
        ({'version': 1}, 'version: expected text'),
    ],
)
def test_wrong_keys_are_named(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        compose(file={**FILE, **keys}, DATA='/data')


def test_missing_keys_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        compose(known={}, file={})
    for key in ('name', 'version', 'checkpoint', 'data.root'):
        assert f'missing key {key!r}' in str(caught.value)


def test_paths_of_a_file_are_relative_to_it(tmp_path: Path) -> None:
    path = tmp_path / 'deploy.yaml'
    path.write_text(
        'checkpoint: runs/best.pt\ndocuments: [CARD.md, /abs/NOTE.md]\noutput: ${OUT}\n'
        'data: {root: data, extra_sources: [{root: more}, {root: "s3://bucket/set"}]}\n'
        'export: {quantization: {calibration_images: calibration}}\n'
    )
    node = read_deployment_file(path, {'OUT': 'bundles'})
    tree = compose_deployment(source(), [from_plain(FILE, 'flags'), node], (), {})
    deployment = validate_deployment(tree)
    assert deployment.checkpoint == str(tmp_path / 'runs' / 'best.pt')
    assert deployment.documents == (str(tmp_path / 'CARD.md'), '/abs/NOTE.md')
    assert deployment.output == str(tmp_path / 'bundles')
    assert deployment.data.root == str(tmp_path / 'data')
    roots = [item.root for item in deployment.data.extra_sources]
    assert roots == [str(tmp_path / 'more'), 's3://bucket/set']
    images = deployment.export.quantization.calibration_images
    assert images == str(tmp_path / 'calibration')


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'deploy.yaml'
    for text, message in (('[1]', 'expected keys'), ('a: [', 'not YAML'), ('a: ${B}', 'B is not')):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            read_deployment_file(path, {})
    with pytest.raises(ConfigError, match='gone.yaml: No such file'):
        read_deployment_file(tmp_path / 'gone.yaml')


def test_bundle_brings_what_it_knows() -> None:
    manifest = open_bundle(shipped_bundle_path()).manifest
    opened = open_source(str(shipped_bundle_path()))
    assert opened.checkpoint.spec == manifest.spec
    assert opened.trained == manifest.provenance
    assert opened.known['name'] == manifest.name
    assert 'root' not in opened.known['data']
    assert manifest.provenance.experiment['data']['root']  # unchanged
    assert all(name.endswith('.md') for name in opened.documents)
    file = from_plain({'version': '9', 'checkpoint': 'b', 'data': {'root': '/data'}}, 'file')
    deployment = validate_deployment(compose_deployment(opened, [file], (), {}))
    assert deployment.thresholds == manifest.thresholds
    assert deployment.licence == manifest.provenance.licence


def test_example_of_the_documentation_is_valid(tmp_path: Path) -> None:
    text = (ROOT / 'docs' / 'export.md').read_text()
    (example,) = re.findall(r'^```yaml\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
    path = tmp_path / 'deploy.yaml'
    path.write_text(example)
    tree = compose_deployment(source(), [read_deployment_file(path, {})], (), {})
    assert validate_deployment(tree).export.gate.min_map50 == 0.3
