"""Fingerprints: equal for equal results, different for different ones."""

from collections.abc import Iterator
import json
import os
from pathlib import Path
import subprocess
import sys
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st
from mnssd_training.config import Experiment, fingerprint, load_experiment
from mnssd_training.config.fingerprint import NEUTRAL, relevant_keys
from mnssd_training.config.sections import Section
from mnssd_training.config.validate import all_keys
import pytest

ROOT = Path(__file__).parents[3]


def of(*overrides: str, source: str | Path = 'smoke') -> str:
    return fingerprint(load_experiment(source, overrides, {}))


def path_keys(section: Any = Experiment, where: str = '') -> Iterator[str]:
    """Go through the keys that are marked as paths."""
    if not (isinstance(section, type) and issubclass(section, Section)):
        return
    for name, field in section.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get('path'):
            yield f'{where}{name}'
        yield from path_keys(field.annotation, f'{where}{name}.')
        for inner in get_args(field.annotation):
            yield from path_keys(inner, f'{where}{name}.*.')


def test_fingerprint_is_twelve_hexadecimal_digits() -> None:
    assert len(of()) == 12
    assert set(of()) <= set('0123456789abcdef')


@pytest.mark.parametrize(
    'override',
    [
        'experiment.id=other', 'experiment.name=other', 'experiment.tags=[a]', 'data.root=/else',
        'data.cache_dir=/tmp',
        'data.train_split=/lists/train.txt', 'data.val_split=splits/val.txt',
        'training.workers=7', 'training.devices=4', 'training.nodes=2',
        'training.accelerator=cpu', 'training.compile=true', 'training.channels_last=false',
        'training.deterministic=true', 'training.gradient_checkpointing=true',
        'evaluation.every_epochs=1', 'evaluation.monitor=ap', 'checkpoint.every_steps=3',
        'checkpoint.keep_last=9', 'logging.root=/runs', 'logging.wandb=mine',
        'training.epochs=1', 'training.ema_decay=0.999', 'optimizer.weight_decay=2e-2',
        'loss.localization_weight=1', 'loss.class_weights={}', 'augmentation.hue=.05',
        'data.sampling={balance: 1}', 'data.hard_negatives=/a.json',
        'augmentation.noise=0', 'augmentation.gamma=1',
        'matching.method=iou', 'matching.atss_candidates=9', 'matching.tal_topk=13',
        'matching.tal_alpha=1', 'matching.tal_beta=6.0',
    ],
)  # fmt: skip
def test_neutral_keys_keep_the_fingerprint(override: str) -> None:
    assert of(override) == of()


@pytest.mark.parametrize(
    'override',
    [
        'training.epochs=2', 'training.seed=1', 'training.ema_decay=0.9', 'training.ema_warmup=5',
        'training.precision=bf16', 'training.multi_scale=[0.5, 1.0]',
        'training.grad_accum_steps=2',
        'training.batch_size=4', 'data.train_split=trainval', 'data.format=yolo',
        'data.classes=[a, b]', 'data.use_difficult=true', 'data.class_map={a: b}',
        'data.sampling.repeat_threshold=0.1', 'data.sampling={groups: "(?P<a>)"}',
        'data.use_background=false', 'data.extra_sources=[{root: a, use_background: false}]',
        'data.extra_sources=[{root: a}]', 'input.size=[160, 201]', 'input.resize=letterbox',
        'priors.variances=[0.1, 0.1]', 'model.width_mult=0.5', 'matching.positive_iou=0.6',
        'augmentation.vertical_flip=0.5', 'augmentation.noise=1', 'augmentation.gamma=1.1',
        'augmentation.object_tone=0.5', 'augmentation.copy_paste=0.1', 'loss.classification=focal',
        'matching.method=atss', 'matching.atss_candidates=7', 'matching.tal_topk=10',
        'matching.tal_alpha=0.5', 'matching.tal_beta=4',
        'loss.class_weights={Car: 2}',
        'optimizer.learning_rate=0.002', 'scheduler.warmup_steps=0',
        'initial.backbone_weights=imagenet', 'initial.backbone_weights=a.pth',
        'initial.checkpoint=a.pt', 'initial.recalibrate_norm=true', 'priors.seed=1337',
    ],
)  # fmt: skip
def test_other_keys_change_the_fingerprint(override: str) -> None:
    assert of(override) != of()


def test_location_of_weights_does_not_count() -> None:
    given_ones = of('initial.backbone_weights=/here/a.pth', 'initial.checkpoint=a.pt')
    assert given_ones == of('initial.backbone_weights=b.pth', 'initial.checkpoint=s3://b/c.pt')
    assert given_ones != of('initial.backbone_weights=imagenet', 'initial.checkpoint=a.pt')


def test_roots_of_extra_sources_do_not_count() -> None:
    assert of('data.extra_sources=[{root: a}]') == of('data.extra_sources=[{root: b}]')
    assert of('data.extra_sources=[{root: a}]') != of('data.extra_sources=[{root: a}, {root: a}]')


def test_background_images_count_as_in_older_versions() -> None:
    def counted(*overrides: str) -> dict[str, Any]:
        return dict(relevant_keys(load_experiment('smoke', overrides, {}))['data'])

    assert 'use_background' not in counted()
    assert counted('data.use_background=false')['use_background'] is False
    yolo = ('data.format=yolo', 'data.extra_sources=[{root: a, format: yolo}, {root: b}]')
    assert counted(*yolo)['use_background'] is True
    assert [source.get('use_background') for source in counted(*yolo)['extra_sources']] == [
        True,
        None,
    ]
    assert 'use_background' not in counted(*yolo, 'data.use_background=false')


def test_paths_do_not_count() -> None:
    assert {'data.root', 'data.extra_sources.*.root', 'logging.root'} <= set(path_keys())
    for key in path_keys():
        assert (
            key in NEUTRAL
            or key.partition('.')[0] in NEUTRAL
            or key.startswith(('initial.', 'distillation.'))
        )


def test_neutral_keys_exist() -> None:
    assert {key for key in NEUTRAL if '*' not in key} <= set(all_keys())


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_order_of_keys_does_not_count(random: Any, with_defaults: bool) -> None:
    """Whole or with the defaults left out, in any order of keys, as JSON: one fingerprint."""
    experiment = load_experiment('hit_uav')
    plain = experiment.model_dump(mode='json', exclude_defaults=not with_defaults)

    def shuffled(value: Any) -> Any:
        if not isinstance(value, dict):
            return int(value) if isinstance(value, float) and value.is_integer() else value
        return {key: shuffled(value[key]) for key in random.sample(sorted(value), len(value))}

    again = Experiment.model_validate_json(json.dumps(shuffled(plain)))
    assert fingerprint(again) == fingerprint(experiment)


@pytest.mark.parametrize('with_defaults', [False, True])
def test_json_dump_loads_as_the_same_experiment(tmp_path: Path, with_defaults: bool) -> None:
    experiment = load_experiment('original', ['training.seed=5'], {})
    path = tmp_path / 'config.json'
    path.write_text(experiment.model_dump_json(exclude_defaults=not with_defaults))
    assert load_experiment(path) == experiment
    assert of(source=path) == fingerprint(experiment)


def test_minus_zero_equals_zero() -> None:
    assert of('loss.smooth_l1_beta=-0.0') == of('loss.smooth_l1_beta=0')


def test_fingerprint_is_reproducible_in_another_process() -> None:
    script = (
        'from mnssd_training.config import fingerprint, load_experiment\n'
        'print(fingerprint(load_experiment("smoke")))'
    )
    paths = os.pathsep.join(str(ROOT / name) for name in ('mnssd_perception', 'mnssd_training'))
    output = subprocess.run(
        [sys.executable, '-c', script],
        env={**os.environ, 'PYTHONPATH': paths, 'PYTHONHASHSEED': '7', 'LC_ALL': 'C'},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert output.strip() == of()


def test_hashed_text_has_no_paths() -> None:
    experiment = load_experiment(
        'smoke',
        ['data.root=/secret', 'data.cache_dir=/secret', 'logging.root=/secret',
         'data.train_split=/secret/train.txt', 'initial.checkpoint=/secret',
         'initial.backbone_weights=/secret', 'data.extra_sources=[{root: /secret}]',
         'distillation.teachers=[/secret]'],
    )  # fmt: skip
    assert 'secret' not in json.dumps(relevant_keys(experiment))
